"""`audiorec data degrade` and `join`: the ratio, the band, the length asked for, of each utterance whatever stands beside it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from audiorec.audio.augment import AugmentConfig, MixConfig
from audiorec.audio.read import read, write
from audiorec.data.degrade import degraded
from audiorec.data.kaldi import Recordings, Utterance, read_data_dir, write_data_dir
from audiorec.data.utterance import Stretch
from audiorec.data.validate import validate
from tests.command import here as run

RATE = 8000


@pytest.fixture
def home(tmp_path) -> Path:
    """Eight clips of two speakers, segments of a recording each; noise in folds, one of them mostly silence."""
    random, clips = np.random.default_rng(0), []
    for speaker in ("george", "theo"):
        write(tmp_path / f"{speaker}.wav", random.uniform(-0.3, 0.3, 3 * RATE), RATE)
        clips += [
            Utterance(
                f"{speaker}-{i}", speaker, tmp_path / f"{speaker}.wav", 0.5 * i, 0.9 * i + 0.3, f"word {i}", speaker
            )
            for i in range(4)
        ]
    labels = Stretch(0.05, 0.1, "speech"), Stretch(0.1, 0.2, "other")
    write_data_dir(tmp_path / "test", [replace(clip, labels=labels) for clip in clips])
    (tmp_path / "noise/rain").mkdir(parents=True)
    write(tmp_path / "noise/rain/1-loud.wav", random.uniform(-0.9, 0.9, 3 * RATE), RATE)
    pulse = np.concatenate([np.zeros(10 * RATE), random.uniform(-0.1, 0.1, RATE)])
    write(tmp_path / "noise/rain/5-pulse.flac", pulse, RATE)
    (tmp_path / "noise/README.md").touch()
    return tmp_path


def audio(folder: Path) -> dict[str, np.ndarray]:
    recordings = Recordings()
    return {utterance.id: recordings.samples(utterance, RATE) for utterance in read_data_dir(folder)}


def degrade(home: Path, out: str, *options: object, data: str = "test") -> dict[str, np.ndarray]:
    done = run("data", "degrade", home / data, home / out, *options)
    assert done.returncode == 0 and done.stdout.endswith(" utterances\n"), done.stderr
    return audio(home / out)


def power_db(samples: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))


def test_each_utterance_has_the_ratio_asked_for_and_none_is_clipped(home):
    """The pulse in eleven seconds is drawn again until some of it is heard."""
    clean, files, heard = audio(home / "test"), ["*/5-*"], {}
    for snr in (-20, 0, 20):
        mixed = MixConfig(files=files, snr_db=(snr, snr), probability=1)
        changes = AugmentConfig(recordings=home / "noise", noise=mixed)
        written = degrade(home, f"{snr}", "--snr", snr, "--noise", home / "noise", "--noise-files", files[0])
        heard[snr] = {u.id: samples for u, samples, _ in degraded(read_data_dir(home / "test"), changes, 0)}
        assert heard[snr].keys() == written.keys() == clean.keys()
        for name, samples in heard[snr].items():
            assert power_db(clean[name]) - power_db(samples - clean[name]) == pytest.approx(snr, abs=0.01), name
            assert np.allclose(written[name], samples / max(1, np.abs(samples).max()), atol=1e-4)
    assert max(np.abs(samples).max() for samples in heard[-20].values()) > 1
    for name, samples in clean.items():
        louder, softer = heard[0][name] - samples, heard[20][name] - samples
        assert np.allclose(louder, 10 * softer, atol=1e-4), "another noise at another ratio"


def test_a_copy_is_a_function_of_seed_and_utterance(home):
    options = ["--snr", 5, "--noise", home / "noise", "--reverberate", "--telephone"]
    first, again, other = (degrade(home, f"{i}", *options, "--seed", seed) for i, seed in enumerate((3, 3, 4)))
    write_data_dir(home / "few", read_data_dir(home / "test")[3:5])
    few = degrade(home, "some", *options, "--seed", 3, data="few")
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not any(np.array_equal(first[name], other[name]) for name in first)
    assert len(few) == 2 and all(np.array_equal(first[name], few[name]) for name in few), "others beside it matter"


def test_a_copy_stands_alone_with_texts_speakers_and_labels(home):
    degrade(home, "copy", "--telephone")
    assert validate(home / "copy") == [] and not (home / "copy/segments").exists()

    def told(folder: Path) -> list[tuple]:
        return [(u.id, u.text, u.speaker, u.labels) for u in read_data_dir(folder)]

    assert told(home / "copy") == told(home / "test")
    (home / "copy").rename(home / "moved")
    assert all(utterance.path.is_file() for utterance in read_data_dir(home / "moved"))


def test_a_telephone_and_a_room_do_what_they_say(home):
    clean, heard, wet = audio(home / "test"), degrade(home, "a", "--telephone"), degrade(home, "b", "--reverberate")
    hertz = np.fft.rfftfreq(1 << 15, 1 / RATE)
    outside = (hertz < 200) | (hertz > 3500)
    for name, samples in clean.items():
        before, after = (np.square(np.abs(np.fft.rfft(x, 1 << 15)))[outside].sum() for x in (samples, heard[name]))
        assert after < 0.1 * before
        assert len(wet[name]) == len(samples) and not np.allclose(wet[name], samples, atol=0.01)
        assert np.square(wet[name]).mean() == pytest.approx(np.square(samples).mean(), rel=0.01)


def test_every_recording_keeps_its_rate(home):
    write(home / "high.wav", np.sin(np.arange(16000) / 3), 16000)
    utterances = [*read_data_dir(home / "test"), Utterance("z", "z", home / "high.wav", 0, None, "one", "z")]
    write_data_dir(home / "both", utterances)
    degrade(home, "copy", "--snr", 10, "--noise", home / "noise", data="both")
    rates = {u.id: read(u.path)[1] for u in read_data_dir(home / "copy")}
    assert rates.pop("z") == 16000 and set(rates.values()) == {8000}


def test_what_cannot_be_degraded_is_one_line(home):
    write(home / "noise/silence.wav", np.zeros(RATE), RATE)
    (home / "taken").mkdir()
    noise = ["--noise", home / "noise"]
    for out, options, code, message in [
        ("x", [], 2, "--reverberate or --telephone"),
        ("x", ["--snr", 5], 2, "noise needs both --snr and --noise"),
        ("x", [*noise], 2, "noise needs both --snr and --noise"),
        ("x", ["--snr", 5, *noise, "--noise-files", "snow/*"], 1, "no audio file is called snow/*; change"),
        ("x", ["--snr", 5, *noise, "--noise-files", "silence.*"], 1, "noise: silent in 100 places"),
        ("taken", ["--telephone"], 1, "taken: is there already; remove it"),
    ]:
        done = run("data", "degrade", home / "test", home / out, *options)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1) and message in done.stderr, done.stderr
        assert not (home / "x").exists() and not list(home.glob("*.part")) and not list((home / "taken").iterdir())


def join(home: Path, out: str, *options: object) -> list[Utterance]:
    done = run("data", "join", home / "test", home / out, *options)
    assert done.returncode == 0 and done.stdout.endswith(" utterances of 8\n"), done.stderr
    assert validate(home / out) == []
    return read_data_dir(home / out)


@pytest.mark.parametrize(("count", "gap"), [(1, 0.2), (3, 0.0), (3, 0.25), (32, 0.1)])
def test_utterances_of_a_speaker_are_joined_in_order(home, count, gap):
    before, clips, silence = read_data_dir(home / "test"), audio(home / "test"), np.zeros(round(gap * RATE), np.float32)
    found = join(home, "long", "--count", count, "--gap", gap)
    long, left = audio(home / "long"), list(before)
    assert [u.speaker for u in found] == sorted(u.speaker for u in found) and {u.speaker for u in found} == {
        "george",
        "theo",
    }
    for utterance in found:
        own = [u for u in left[:count] if u.speaker == utterance.speaker]
        left = left[len(own) :]
        assert len(own) == count or not any(u.speaker == utterance.speaker for u in left), "one in the middle is short"
        assert utterance.text == " ".join(u.text for u in own)
        pieces = [piece for u in own for piece in (clips[u.id], silence)][:-1]
        assert np.array_equal(long[utterance.id], np.concatenate(pieces)), "the samples are not those of the parts"
        starts = np.cumsum([0, *(len(clips[u.id]) / RATE + gap for u in own[:-1])])
        expected = [(at + x.start, at + x.end, x.label) for at, u in zip(starts, own, strict=True) for x in u.labels]
        assert [x.label for x in utterance.labels] == [label for *_, label in expected]
        times = [(x.start, x.end) for x in utterance.labels]
        assert np.allclose(times, [(start, end) for start, end, _ in expected], atol=2e-4)
    assert not left


def test_what_cannot_be_joined_is_one_line(home):
    (home / "test/utt2spk").unlink()
    done = run("data", "join", home / "test", home / "long", "--count", 2)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "name the speakers in utt2spk" in done.stderr
    assert run("data", "join", home / "test", home / "noise", "--count", 1).returncode == 1
    assert run("data", "join", home / "test", home / "long", "--count", 0).returncode == 2
    assert not (home / "long").exists()
