"""`audiorec data shard`: the same utterances, samples and batches from plain tar files; one line for each fault in them."""

import itertools
import os
import pickle
import subprocess
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiorec.audio.augment import AugmentConfig
from audiorec.audio.read import read, write
from audiorec.data import durations, scan, tar
from audiorec.data.batches import DataConfig, SpeechData
from audiorec.data.durations import utterance_seconds
from audiorec.data.kaldi import Recordings, Utterance, read_data_dir, write_data_dir
from audiorec.data.shards import write_shards
from audiorec.data.tar import Archives, Member
from audiorec.data.utterance import Pipe, Stretch
from audiorec.data.validate import validate
from audiorec.errors import UserError
from audiorec.text import Normalizer, train_tokenizer
from tests.command import here as run

RATE = 8000
NAMES = ["a.b/c", "b%2E", "é", *(f"f{i}" for i in range(21))]


def noise(name: str, seconds: float, channels: int = 1) -> np.ndarray:
    """Samples of 16 bits (T, channels)."""
    random = np.random.default_rng(list(name.encode()))
    return random.integers(-(2**15), 2**15, (round(seconds * RATE), channels), np.int16)


def clip(name: str, recording: str, path: Path, start: float = 0.0, end: float | None = None, **more) -> Utterance:
    return Utterance(name, recording, path, start, end, f"the words of {name}", f"s{len(name)}", **more)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """``whole``: 24 wav and flac files with odd names; ``cut``: segments of two recordings, one of two channels, with labels."""
    home, clips = tmp_path_factory.mktemp("shards"), []
    for i, name in enumerate(sorted(NAMES)):
        path = home / f"{i}.{'wav' if i % 2 else 'flac'}"
        soundfile.write(path, noise(name, 0.3 + 0.01 * i), RATE)
        clips.append(clip(name, name, path))
    write_data_dir(home / "whole", clips)
    soundfile.write(home / "mono.wav", noise("mono", 3), RATE)
    soundfile.write(home / "stereo.flac", noise("stereo", 3, 2), RATE)
    labels = Stretch(0.05, 0.1, "speech"), Stretch(0.1, 0.2, "other")
    cuts = [clip(f"m{i}", "mono", home / "mono.wav", i / 3, i / 3 + 0.401, labels=labels) for i in range(7)]
    cuts += [clip(f"s{i}", "stereo", home / "stereo.flac", i / 3, i / 3 + 0.4, channel=i % 2) for i in range(7)]
    write_data_dir(home / "cut", [*cuts, clip("tail", "mono", home / "mono.wav", 2.5)])
    return home


def shard(data: Path, out: Path, *options: object) -> list[Utterance]:
    done = run("data", "shard", data, out, *options)
    assert done.returncode == 0, done.stderr
    return read_data_dir(out)


def hold_same(plain: Path, sharded: Path, rates: tuple[int, ...]) -> None:
    before, after, recordings = read_data_dir(plain), read_data_dir(sharded), Recordings(max_bytes=0)
    assert utterance_seconds(plain, before) == utterance_seconds(sharded, after)
    assert [(u.id, u.text, u.speaker, u.labels) for u in before] == [(u.id, u.text, u.speaker, u.labels) for u in after]
    for (old, new), rate in itertools.product(zip(before, after, strict=True), rates):
        assert isinstance(new.path, Member)
        assert np.array_equal(recordings.samples(old, rate), recordings.samples(new, rate)), (new.id, rate)


@pytest.mark.parametrize("format", ["flac", "wav", "copy"])
@pytest.mark.parametrize(("data", "rates"), [("whole", (RATE, 11025)), ("cut", (RATE,))])
def test_samples_texts_and_lengths_are_those_of_the_plain_folder(home, tmp_path, data, rates, format):
    """A segment that was cut out has nothing beside it for a resampler to reach to, so it is the same at its own rate."""
    if (data, format) == ("cut", "copy"):
        done = run("data", "shard", home / data, tmp_path / "out", "--format", format)
        assert done.returncode == 1 and "'m0': is a segment, which no copy cuts out" in done.stderr
        return
    shard(home / data, tmp_path / "out", "--size", 5, "--format", format)
    hold_same(home / data, tmp_path / "out", rates)
    assert validate(tmp_path / "out", RATE, deep=True) == []
    again = shard(tmp_path / "out", tmp_path / "again", "--size", 2, "--format", "copy")
    hold_same(home / data, tmp_path / "again", rates)
    for one, other in zip(read_data_dir(tmp_path / "out"), again, strict=True):
        assert one.path.read() == other.path.read(), "a copy of a copy is another"
    (tmp_path / "out").rename(tmp_path / "moved")
    hold_same(home / data, tmp_path / "moved", rates)


@pytest.mark.parametrize("format", ["flac", "wav", "opus", "copy"])
def test_the_archives_are_plain_tar_files_of_audio_and_texts(home, tmp_path, format):
    """Names without a second dot, and a recording beside its text: what webdataset makes a sample of."""
    found = shard(home / "whole", tmp_path / "out", "--size", 10, "--format", format)
    archives = sorted((tmp_path / "out").glob("*.tar"))
    assert [path.name for path in archives] == [f"audio.{i:06d}.tar" for i in range(3)]
    files = {}
    for path in archives:
        with tarfile.open(path) as archive:
            files |= {member.name: archive.extractfile(member).read() for member in archive}
        (tmp_path / path.stem).mkdir()
        subprocess.run(["tar", "xf", path, "-C", tmp_path / path.stem], check=True)
    assert files == {path.name: path.read_bytes() for path in tmp_path.glob("audio.*/*")}
    samples = [list(group) for _, group in itertools.groupby(files, lambda name: name.partition(".")[0])]
    assert len(samples) == len(found)
    for utterance, (audio, text) in zip(found, samples, strict=True):
        assert text.endswith(".txt") and files[text].decode() == utterance.text
        assert utterance.path.read() == (audio, files[audio])
        assert len(read(BytesIO(files[audio]))[0]) and audio.partition(".")[2] in (
            {format} if format != "copy" else {"wav", "flac"}
        )
    if format != "opus":  # an ogg stream has a random number
        shard(home / "whole", tmp_path / "again", "--size", 10, "--format", format)
        assert all(path.read_bytes() == (tmp_path / "again" / path.name).read_bytes() for path in archives)


def test_an_archive_is_full_with_so_many_utterances_or_megabytes(home, tmp_path):
    found = read_data_dir(home / "whole")
    sizes = [len(u.path.read_bytes()) for u in found]
    seconds, _ = utterance_seconds(home / "whole", found)
    for i, (count, megabytes) in enumerate([(1, None), (7, None), (24, None), (25, None), (None, 0.02), (None, 1e-6)]):
        archives = write_shards(tmp_path / str(i), found, seconds, "copy", count, megabytes)
        held = [
            len(list(group))
            for _, group in itertools.groupby(read_data_dir(tmp_path / str(i)), lambda u: u.path.archive)
        ]
        assert len(held) == archives and sum(held) == len(found)
        if count:
            assert held == [count] * (len(found) // count) + [len(found) % count] * (len(found) % count > 0)
        else:
            sums = [sum(itertools.islice(left, n)) for left in [iter(sizes)] for n in held]
            assert all(s <= megabytes * 1e6 or n == 1 for s, n in zip(sums, held, strict=True))
            assert all(a + b > megabytes * 1e6 for a, b in itertools.pairwise(sums)), "one could hold another's"


def test_a_segment_of_a_member_is_a_slice_of_it(home, tmp_path):
    """Written by hand: a tar that another program made, of recordings that are cut by segments."""
    with tarfile.open(tmp_path / "long.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("stereo.flac", "mono.wav"):
            archive.add(home / name, name)
    with tarfile.open(tmp_path / "long.tar") as archive:
        places = {member.name: Member(tmp_path / "long.tar", member.offset_data) for member in archive}
    plain = read_data_dir(home / "cut")
    write_data_dir(tmp_path / "data", [replace(u, path=places[u.path.name]) for u in plain])
    found, recordings = read_data_dir(tmp_path / "data"), Recordings()
    assert validate(tmp_path / "data") == []
    for (old, new), rate in itertools.product(zip(plain, found, strict=True), (RATE, 16000, 5000)):
        assert np.array_equal(recordings.samples(old, rate), recordings.samples(new, rate)), (new.id, rate)
        whole = read(new.path.open(), rate, channel=new.channel)[0]
        end = None if new.end is None else round(new.end * rate)
        assert np.array_equal(recordings.samples(new, rate), whole[round(new.start * rate) : end])


def make(folder: Path, **options) -> SpeechData:
    config = DataConfig(batch_seconds=1.5, buckets=3, min_seconds=0, **options)
    return SpeechData(folder, RATE, train_tokenizer("word", ["the words of " + " ".join(NAMES)]), Normalizer(), config)


@pytest.mark.parametrize(("data", "workers"), [("whole", 0), ("whole", 2), ("cut", 0)])
def test_a_training_has_the_same_batches(home, tmp_path, data, workers):
    """With workers the archives are open before these are forked."""
    shard(home / data, tmp_path / "out", "--size", 4)
    plain, sharded = make(home / data), make(tmp_path / "out", workers=workers)
    for utterance in sharded.utterances.values():
        sharded.recordings.samples(utterance, RATE)
    for epoch, done in ((0, 0), (1, 3)):
        batches = [
            list(data.training(AugmentConfig(speed=(0.9, 1.1), gain_db=(-6, 6)), seed=5, epoch=epoch, done=done))
            for data in (plain, sharded)
        ]
        counts = list(map(len, batches))
        assert counts[0] == counts[1] > 1
        for one, other in zip(*batches, strict=True):
            assert one.ids == other.ids and one.texts == other.texts and torch.equal(one.samples, other.samples)


def test_few_archives_stay_open_and_a_worker_that_is_spawned_opens_its_own(home, tmp_path, monkeypatch):
    found = shard(home / "whole", tmp_path / "out", "--size", 1)
    opened: list[int] = []
    monkeypatch.setattr(tar, "OPEN", 3)
    monkeypatch.setattr(os, "open", lambda *rest, real=os.open: opened.append(real(*rest)) or opened[-1])
    archives = Archives()

    def still_open() -> int:
        return sum(os.path.exists(f"/proc/self/fd/{number}") for number in set(opened))

    for utterance in [*found, *found[:2], *found[:2], *found[:2]]:
        assert utterance.path.read(archives) == utterance.path.read()
    once = len(found) + 2 + len(found) + 6  # by ``archives``, and by those of a single reading
    assert len(opened) == once, "an archive that is open was opened again"
    if os.path.exists("/proc/self/fd"):
        assert still_open() == 3
        assert found[0].path.read(pickle.loads(pickle.dumps(archives))) == found[0].path.read(archives)
        assert still_open() == 3
        del archives
        assert still_open() == 0


def test_opening_looks_at_archives_alone(home, tmp_path, monkeypatch):
    shard(home / "whole", tmp_path / "out", "--size", 8)
    looks: list[str] = []
    monkeypatch.setattr(scan, "_find", lambda *given, real=scan._find: looks.append(given[1]) or real(*given))
    monkeypatch.setattr(durations, "examine", lambda path: pytest.fail("a header is read"))
    make(tmp_path / "out")
    assert looks == [f"audio.{i:06d}.tar" for i in range(3)]


def spoil(folder: Path, fault: str) -> tuple[list[str], str]:
    """Damage the third of three archives of two, or a line that names it; the utterances it concerns, and what is said."""
    archive, scp = folder / "audio.000002.tar", folder / "wav.scp"
    first, second = (u for u in read_data_dir(folder) if u.path.archive == archive)
    offset, line = first.path.offset, f"{first.path.archive.name}:{first.path.offset}\n"
    match fault:
        case "missing":
            archive.unlink()
            return [first.id, second.id], "audio.000002.tar: cannot be read: No such file or directory"
        case "cut between":
            os.truncate(archive, second.path.offset - 1024)
            return [
                second.id
            ], f"audio.000002.tar:{second.path.offset}: the archive is cut short; fetch or make it again"
        case "cut within":
            os.truncate(archive, second.path.offset + 1000)
            return [second.id], f"000002.tar:{second.path.offset} (%C3%A9.flac): 1000 of "
        case "damaged":
            content = bytearray(archive.read_bytes())
            content[offset + 2000] ^= 255
            archive.write_bytes(content)
            return [first.id], f"000002.tar:{offset} ({first.id}.flac): cut short or damaged"
        case "no member" | "no block" | "no number":
            place = {"no member": offset + 512, "no block": offset + 1, "no number": 0}[fault]
            scp.write_text(scp.read_text().replace(line, line.replace(str(offset), str(place))))
            return [first.id], f"audio.000002.tar:{place}: no file of the archive begins there"
        case "a text":
            with tarfile.open(archive) as members:
                place = next(member.offset_data for member in members if member.name.endswith(".txt"))
            scp.write_text(scp.read_text().replace(line, line.replace(str(offset), str(place))))
            return [first.id], f"audio.000002.tar:{place} ({first.id}.txt): not readable as audio"
    raise AssertionError(fault)


FAULTS = "missing", "cut between", "cut within", "damaged", "no member", "no block", "no number", "a text"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_names_archive_and_utterance(home, tmp_path, fault):
    write_data_dir(tmp_path / "six", read_data_dir(home / "whole")[-6:])
    shard(tmp_path / "six", tmp_path / "out", "--size", 2)
    names, message = spoil(tmp_path / "out", fault)
    problems = validate(tmp_path / "out", deep=True)
    assert [f"recording {name!r}: " in str(problem) for name, problem in zip(names, problems, strict=True)]
    assert all(message in str(problem) and str(problem).startswith("wav.scp:") for problem in problems)
    for name in names:
        utterance = next(u for u in read_data_dir(tmp_path / "out") if u.id == name)
        with pytest.raises(UserError) as error:
            Recordings().samples(utterance, RATE)
        assert message in str(error.value) and repr(name) in str(error.value)
    done = run("data", "shard", tmp_path / "out", tmp_path / "again")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and message in done.stderr
    assert not list(tmp_path.glob("again*"))


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_used_is_left_out_where_that_is_asked_for(home, tmp_path, caplog, fault):
    """What a look at the archives shows comes before the training; the rest when it is its turn."""
    write_data_dir(tmp_path / "six", read_data_dir(home / "whole")[-6:])
    shard(tmp_path / "six", tmp_path / "out", "--size", 2)
    names, message = spoil(tmp_path / "out", fault)
    if fault in ("missing", "cut between"):
        with pytest.raises(
            UserError, match=rf"{len(names)} of 6 utterances have no usable audio, such as {names[0]}: "
        ):
            make(tmp_path / "out")
    data = make(tmp_path / "out", skip_bad=True)
    ids = [name for batch in data.training(AugmentConfig(), seed=0, epoch=0) for name in batch.ids]
    assert sorted(ids) == sorted({u.id for u in read_data_dir(tmp_path / "six")} - set(names))
    assert message in caplog.text and names[0] in caplog.text


def test_tables_are_changed_as_those_of_other_folders(home, tmp_path):
    shard(home / "whole", tmp_path / "out", "--size", 5)
    whole = {u.id: u for u in read_data_dir(home / "whole")}
    (tmp_path / "out/text").write_text("".join(reversed((tmp_path / "out/text").read_text().splitlines(keepends=True))))
    for command in (
        ["fix", "out"], ["stats", "out"], ["utt2dur", "out"], ["spk2utt", "out"], ["validate", "out"],
        ["subset", "out", "some", "--random", "9"], ["subset", "out", "in/side", "--first", "5"],
        ["split", "out", "parts", "--parts", "2", "--by-utterance"], ["combine", "both", "parts/1", "parts/2"],
        ["validate", "both"], ["join", "out", "joined", "--count", "2"],
    ):  # fmt: skip
        names = [word if word.startswith("-") or word.isdigit() else tmp_path / word for word in command[1:]]
        done = run("data", command[0], *names)
        assert done.returncode == 0, done.stderr
    recordings, counts = Recordings(), {"out": 24, "some": 9, "in/side": 5, "both": 24}
    for folder, count in counts.items():
        found = read_data_dir(tmp_path / folder)
        assert len(found) == count
        for utterance in found:
            plain = whole[utterance.id]
            assert np.array_equal(recordings.samples(utterance, RATE), recordings.samples(plain, RATE))
    assert f"{tmp_path}/out/audio.000000.tar:512" in (tmp_path / "both/wav.scp").read_text()
    for manifest in ("nemo", "lhotse"):
        done = run("data", "export", tmp_path / "out", tmp_path / "manifest", "--format", manifest)
        assert done.returncode == 1 and "lies in a tar file" in done.stderr


def test_opus_keeps_lengths_and_what_is_heard(tmp_path):
    tone = np.sin(np.arange(16000) / 9) * np.sin(np.arange(16000) / 2000) / 2
    write(tmp_path / "a.wav", tone, 16000)
    write_data_dir(tmp_path / "data", [clip("a", "a", tmp_path / "a.wav")])
    (found,) = shard(tmp_path / "data", tmp_path / "out", "--format", "opus")
    heard, rate = read(found.path.open())
    assert (len(heard), rate) == (16000, 16000) and np.square(heard - tone).mean() < 0.05 * np.square(tone).mean()


def test_a_folder_appears_whole_or_not_at_all_and_options_are_held(home, tmp_path):
    write(tmp_path / "b.wav", np.zeros(800), RATE)
    (tmp_path / "b.wav").write_bytes((tmp_path / "b.wav").read_bytes()[:100])
    (tmp_path / "taken").mkdir()
    first = read_data_dir(home / "whole")[0]
    write_data_dir(tmp_path / "bad", [first, clip("z", "z", tmp_path / "b.wav")])
    (tmp_path / "bad/reco2dur").write_text("a.b/c 0.3\nz 0.1\n")  # believed, so that the damage is met late
    write_data_dir(tmp_path / "pipe", [clip("p", "p", Pipe(f"cat '{home}/mono.wav'"))])
    for data, out, options, code, message in [
        (tmp_path / "bad", "x", [], 1, "b.wav: cut short"),
        (home / "whole", "taken", [], 1, "taken: is there already; remove it"),
        (home / "whole", "x", ["--size", 5, "--shard-mb", 5], 2, "give --size or --shard-mb"),
        (home / "whole", "x", ["--size", 0], 2, "--size"),
        (tmp_path / "pipe", "x", [], 1, "'p' is a command: name a file, or let --allow-pipes"),
        (tmp_path / "pipe", "x", ["--allow-pipes", "--format", "copy"], 1, "'p' is a command, no file to copy"),
    ]:
        done = run("data", "shard", data, tmp_path / out, *options)
        assert done.returncode == code and message in done.stderr, done.stderr
        assert not list(tmp_path.glob("x*")) and not list((tmp_path / "taken").iterdir())
    (found,) = shard(tmp_path / "pipe", tmp_path / "x", "--allow-pipes")
    assert np.array_equal(read(found.path.open())[0], read(home / "mono.wav")[0])


def test_only_tar_files_have_members(tmp_path):
    """What is no `….tar:NUMBER` is the name of a file, as it was; such a file is not written to wav.scp."""
    (tmp_path / "wav.scp").write_text("a a.wav:7\nb b.tar:x\nc c d.tar:512\nd /e.tar:0512\ne f.tar\n")
    paths = [u.path for u in read_data_dir(tmp_path, require_text=False)]
    files = tmp_path / "a.wav:7", tmp_path / "b.tar:x", Member(tmp_path / "c d.tar", 512), Member(Path("/e.tar"), 512)
    assert paths == [*files, tmp_path / "f.tar"]
    with pytest.raises(UserError, match=r"g\.tar:9: would read as a part of a tar file: give it another name"):
        write_data_dir(tmp_path / "out", [clip("a", "a", tmp_path / "g.tar:9")])
