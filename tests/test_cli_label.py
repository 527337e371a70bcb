"""`audiorec label`: the directory that it writes, what it leaves out, and wrong use."""

import pytest

from audiorec.audio.read import write
from audiorec.data.kaldi import Utterance, read_data_dir, write_data_dir
from audiorec.data.validate import validate
from audiorec.evaluation.wer import read_text
from tests.command import here as run


@pytest.fixture(scope="module")
def data(tmp_path_factory, speech):
    """Four utterances without texts, two of them segments of one recording."""
    folder = tmp_path_factory.mktemp("data") / "untold"
    files = [folder.parent / f"r{i}.wav" for i in range(3)]
    for i, size in enumerate([24000, 16000, 1600]):
        write(files[i], speech[i * 24000 : i * 24000 + size], 8000)
    places = [("a", 0, 0.0, 1.5), ("b", 0, 1.5, 3.0), ("c", 1, 0.0, None), ("d", 2, 0.0, None)]
    write_data_dir(folder, [Utterance(n, f"r{i}", files[i], start, end, "", "theo") for n, i, start, end in places])
    return folder


def test_a_models_words_become_the_texts(data, model_dir, tmp_path):
    out, decoded = tmp_path / "told", tmp_path / "decoded"
    done = run("label", model_dir, "--data", data, "--out", out, "--min-seconds", 0.5, "--min-confidence", 0.01)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}: 3 of 4 utterances, 0.00 hours; left out: 1 too short\n"
    assert run("decode", model_dir, "--data", data, "--out", decoded).returncode == 0
    expected = read_text(decoded / "text")
    found = read_data_dir(out)
    assert {one.id: one.text for one in found} == {name: expected[name] for name in "abc"}
    before = {one.id: one for one in read_data_dir(data, require_text=False)}
    for one in found:
        same = before[one.id]
        assert (one.path, one.start, one.end, one.speaker) == (same.path, same.start, same.end, same.speaker)
    assert not validate(out)
    assert run("label", model_dir, "--data", data, "--out", tmp_path / "again", "--min-seconds", 0.5).returncode == 0
    for name in ("text", "wav.scp", "segments", "utt2spk"):
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_anothers_words_are_filtered_by_the_same_rules(data, tmp_path):
    text, out = tmp_path / "text", tmp_path / "told"
    text.write_text("a seven seven\nb no no no no\nc\nd one\n")
    options = ["--max-repeats", 3, "--letters-per-second", 2, 10]
    done = run("label", "--text", text, "--data", data, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    left_out = "1 empty, 1 repeating themselves, 1 too fast"
    assert done.stdout == f"{out}: 1 of 4 utterances, 0.00 hours; left out: {left_out}\n"
    assert [(one.id, one.text) for one in read_data_dir(out)] == [("a", "seven seven")]


@pytest.mark.parametrize(
    "options, code, fault",
    [
        ([], 2, "give a model, or --text FILE"),
        (["MODEL", "--text", "TEXT"], 2, "give a model, or --text FILE"),
        (["--text", "TEXT", "--search", "beam"], 2, "--search: is of a model that decodes"),
        (["--text", "TEXT", "--beam", "4"], 2, "--beam: is of a model that decodes"),
        (["--text", "TEXT", "--min-confidence", "0.5"], 2, "--min-confidence: is of a model that decodes"),
        (["--text", "OTHER"], 1, "1 of its utterances, such as x, are not in"),
        (["--text", "TEXT", "--min-seconds", "9"], 1, "none of 4 utterances is left; left out: 4 too short"),
        (["--text", "TEXT", "--out", "DATA"], 1, "is there already; choose another --out"),
    ],
)
def test_wrong_use_is_one_line(data, model_dir, tmp_path, options, code, fault):
    (tmp_path / "text").write_text("a seven\n")
    (tmp_path / "other").write_text("x seven\n")
    names = {"MODEL": model_dir, "TEXT": tmp_path / "text", "OTHER": tmp_path / "other", "DATA": data}
    done = run("label", "--data", data, "--out", tmp_path / "out", *[names.get(word, word) for word in options])
    assert done.returncode == code and fault in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "out").exists()
