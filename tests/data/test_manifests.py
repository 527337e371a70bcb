"""Manifests of lhotse and NeMo: what lhotse itself reads and writes, and the same utterances after every round trip."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from audiorec.cli import app
from audiorec.data.kaldi import Recordings, Utterance, read_data_dir, write_data_dir
from audiorec.data.manifests import read_manifest, write_lhotse, write_nemo
from audiorec.data.utterance import Pipe
from audiorec.errors import UserError

lhotse = pytest.importorskip("lhotse")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A data directory: two segments, a whole recording, and one side of a conversation."""
    random, clips = np.random.default_rng(0), []
    for name, shape in (("talk", 16000), ("word", 4000), ("call", (8000, 2))):
        soundfile.write(tmp_path / f"{name}.wav", random.uniform(-0.5, 0.5, shape), 8000)
    for name, recording, start, end, channel in (
        ("a", "talk", 0.25, 0.75, None), ("b", "talk", 1.0, None, None), ("call", "call", 0.0, None, 1),
        ("word", "word", 0.0, None, None),
    ):  # fmt: skip
        clips.append(
            Utterance(name, recording, tmp_path / f"{recording}.wav", start, end, f"said {name}", "s", channel)
        )
    write_data_dir(tmp_path / "data", clips)
    return tmp_path / "data"


def seconds(utterances) -> dict[str, float]:
    return {u.id: len(Recordings().samples(u, 8000)) / 8000 for u in utterances}


def same(a, b, but: tuple[str, ...] = ()) -> bool:
    """Whether ids, texts, speakers and samples agree."""
    rows = [
        [(u.id, u.text, u.speaker if "speaker" not in but else "", Recordings().samples(u, 8000).tolist()) for u in row]
        for row in (a, b)
    ]
    return rows[0] == rows[1]


@pytest.mark.parametrize("format", ["nemo", "lhotse"])
def test_a_round_trip_gives_the_same_utterances(folder, format):
    before, manifest = read_data_dir(folder), folder.parent / "manifest.jsonl.gz"
    run = CliRunner().invoke(app, ["data", "export", "--format", format, str(folder), str(manifest)])
    assert run.exit_code == 0, run.output
    for source in [manifest] if format == "nemo" else [manifest, manifest / "cuts.jsonl.gz"]:
        run = CliRunner().invoke(app, ["data", "import", str(source), str(folder.parent / "again")])
        assert run.exit_code == 0, run.output
        again = read_data_dir(folder.parent / "again")
        assert same(before, again)
        assert [(u.recording, u.path) for u in again] == [(u.recording, u.path) for u in before]
        assert [u.channel for u in again] == [u.channel for u in before]


def test_lhotse_reads_what_is_written(folder):
    utterances = {u.id: u for u in read_data_dir(folder)}
    write_lhotse(folder.parent / "out", utterances.values(), seconds(utterances.values()))
    recordings = lhotse.RecordingSet.from_file(folder.parent / "out" / "recordings.jsonl.gz")
    supervisions = lhotse.SupervisionSet.from_file(folder.parent / "out" / "supervisions.jsonl.gz")
    lhotse.validate_recordings_and_supervisions(recordings, supervisions)
    cuts = lhotse.CutSet.from_file(folder.parent / "out" / "cuts.jsonl.gz")
    trimmed = lhotse.CutSet.from_manifests(recordings, supervisions).trim_to_supervisions(keep_all_channels=False)
    for found in (cuts, trimmed):
        found = {cut.supervisions[0].id: cut for cut in found}
        assert set(found) == set(utterances)
        for name, cut in found.items():
            expected = Recordings().samples(utterances[name], 8000)
            assert np.abs(cut.load_audio()[0] - expected).max() < 1e-6
            assert cut.supervisions[0].text == utterances[name].text and cut.supervisions[0].speaker == "s"


def test_what_lhotse_writes_is_read(folder, tmp_path):
    mono = [u for u in read_data_dir(folder) if u.channel is None]
    write_data_dir(tmp_path / "mono", mono)
    recordings, supervisions, _ = lhotse.kaldi.load_kaldi_data_dir(tmp_path / "mono", 8000)
    (tmp_path / "lhotse").mkdir()
    recordings.to_file(tmp_path / "lhotse" / "x_recordings_train.jsonl.gz")
    supervisions.to_file(tmp_path / "lhotse" / "x_supervisions_train.jsonl.gz")
    assert same(read_manifest(tmp_path / "lhotse"), mono)
    cuts = lhotse.CutSet.from_manifests(recordings, supervisions).trim_to_supervisions()
    cuts = lhotse.CutSet.from_cuts([cut.with_id(cut.supervisions[0].id) for cut in cuts])
    cuts.to_file(tmp_path / "cuts.jsonl.gz")
    assert same(read_manifest(tmp_path / "cuts.jsonl.gz"), mono)
    exported = tmp_path / "kaldi"
    lhotse.kaldi.export_to_kaldi(recordings, supervisions, exported)
    assert [(u.id, u.text) for u in read_data_dir(exported, allow_pipes=True)] == [(u.id, u.text) for u in mono]


def test_a_nemo_manifest_without_ids_has_names_of_its_files(folder, tmp_path):
    lines = [
        {"audio_filepath": "talk.wav", "duration": 0.5, "offset": 0.25, "text": "one  two"},
        {"audio_filepath": str(folder.parent / "word.wav"), "duration": 0.5, "text": "three"},
        {"audio_filepath": "other/word.wav", "duration": 0.5},
    ]
    path = folder.parent / "nemo.json"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    a, b, c = read_manifest(path)
    assert (a.id, a.recording, a.start, a.end, a.text) == (
        "other-word",
        "other-word",
        0.0,
        None,
        "",
    ) or a.id == "other-word"
    assert (b.id, b.start, b.end, b.text, b.path) == (
        "talk-0000250-0000750",
        0.25,
        0.75,
        "one two",
        folder.parent / "talk.wav",
    )
    assert (c.id, c.recording, c.speaker) == ("word", "word", "word")


def test_commands_are_carried_where_the_format_has_them(folder, tmp_path):
    word = read_data_dir(folder)[3]
    piped = replace(word, path=Pipe(f"cat '{word.path}'"))
    write_lhotse(tmp_path / "out", [piped], {"word": 0.5})
    assert read_manifest(tmp_path / "out") == [piped]
    run = CliRunner().invoke(app, ["data", "import", str(tmp_path / "out"), str(tmp_path / "again")])
    assert isinstance(run.exception, UserError) and "--allow-pipes" in str(run.exception)
    with pytest.raises(UserError, match="recording 'word' is a command"):
        write_nemo(tmp_path / "a.jsonl", [piped], {"word": 0.5})
    assert not (tmp_path / "a.jsonl").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is empty"),
        ("{}\n", ":1: no audio_filepath"),
        ("{", "not lines of JSON"),
        ("[]\n", ":1: expected an object on each line"),
        ('{"audio_filepath": "a.wav", "utt_id": "a"}\n' * 2, "utterance 'a' appears twice"),
        ('{"audio_filepath": "a.wav", "offset": 1, "duration": "x"}\n', ":1: no duration, or not as"),
        ('{"audio_filepath": "a.wav", "channel_selector": "average"}\n', ":1: channel_selector 'average'"),
        ('{"type": "MixedCut", "id": "a"}\n', ":1: a MixedCut without a recording of its own"),
        ('{"type": "MonoCut", "recording": {"id": "r"}}\n', ":1: 0 supervisions in a cut"),
    ],
)
def test_what_is_no_manifest_is_named_with_its_line(tmp_path, content, complaint):
    path = tmp_path / "m.jsonl"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}") and complaint in str(caught.value)
    whole = gzip.compress(b"{}\n" * 1000)
    (tmp_path / "m.jsonl.gz").write_bytes(whole[:-5])
    with pytest.raises(UserError, match=r"m\.jsonl\.gz"):
        read_manifest(tmp_path / "m.jsonl.gz")
    with pytest.raises(UserError, match=r"holds 0 files \*recordings\*"):
        read_manifest(tmp_path)
