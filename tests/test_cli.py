"""The command line as a person meets it: exit codes, one-line errors, and a whole path from data to score."""

import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

import audiorec
from audiorec.audio.read import read, write
from audiorec.data.kaldi import Utterance, write_data_dir
from tests.command import here as run


@pytest.fixture(scope="module")
def data(tmp_path_factory, speech):
    folder = tmp_path_factory.mktemp("data") / "test"
    audio = folder.parent / "audio"
    audio.mkdir()
    utterances = []
    for i, size in enumerate([8000, 20003, 3001, 500]):
        path = audio / f"u{i}.wav"
        write(path, speech[i * 8000 : i * 8000 + size], 8000)
        utterances.append(Utterance(f"u{i}", f"u{i}", path, 0.0, None, "one two", "theo"))
    write_data_dir(folder, utterances)
    return folder


def test_decode_offline_and_streamed_score_and_report(model_dir, data, tmp_path):
    offline, streamed = tmp_path / "offline", tmp_path / "streamed"
    assert run("decode", model_dir, "--data", data, "--out", offline).returncode == 0
    done = run("decode", model_dir, "--data", data, "--out", streamed, "--streaming", "--chunk-ms", 40, "--threads", 1)
    assert done.returncode == 0 and "real-time factor" in done.stdout, done.stderr
    assert (offline / "text").read_text() == (streamed / "text").read_text()
    assert (offline / "words.ctm").read_text() == (streamed / "words.ctm").read_text() != ""
    for folder in (offline, streamed):
        labels = ["--label", "recipe=tiny", "--label", "split=test"]
        done = run("score", data, folder, "--same-as", offline, *labels)
        assert done.returncode == 0 and "WER" in done.stdout and "0 utterances differ" in done.stdout, done.stderr
        told = done.stdout
        assert "u1" in (folder / "alignments.txt").read_text()
    assert json.loads((streamed / "score.json").read_text())["chunk_ms"] == 40
    done = run("report", offline / "score.json", streamed / "score.json", "--out", tmp_path / "RESULTS.md")
    assert done.returncode == 0 and "tiny" in (tmp_path / "RESULTS.md").read_text(), done.stderr
    scored = json.loads((streamed / "score.json").read_text())
    assert scored["different_words"] == 0 and scored["streaming"]["utterances"] == 4 and "delays: " in told
    (
        shutil.copytree(offline, tmp_path / "run/decode/offline"),
        shutil.copytree(streamed, tmp_path / "run/decode/streamed"),
    )
    done = run("report", tmp_path / "run")
    assert done.returncode == 0 and "<audio" in (tmp_path / "run/report.html").read_text(), done.stderr
    assert "tiny" in (tmp_path / "run/report.md").read_text()
    done = run("align", model_dir, "--data", data, "--out", tmp_path / "aligned")
    assert done.returncode == 0 and "4 utterances aligned, 0 left out" in done.stdout, done.stderr
    assert {line.split()[4] for line in (tmp_path / "aligned/words.ctm").read_text().splitlines()} == {"one", "two"}
    model = shutil.copytree(model_dir, tmp_path / "model")
    for _ in range(2):  # the second time replaces the first
        assert run("card", model, offline / "score.json", streamed / "score.json").returncode == 0
    card = (model / "README.md").read_text()
    assert card.startswith("# tiny") and card.count("| test | whole |") == card.count("in pieces of 40 ms") == 1


def test_transcribe_info_tokenizer_and_validate(model_dir, data, tmp_path):
    audio = data.parent / "audio"
    one, two = run("transcribe", model_dir, audio / "u1.wav"), run("transcribe", model_dir, *sorted(audio.glob("*")))
    assert one.stdout.strip() and f"u1.wav\t{one.stdout}" in two.stdout and two.stdout.count("\n") == 4
    about = run("info", model_dir)
    assert "37.5 ms" in about.stdout and "8000 Hz" in about.stdout and "State of a stream" in about.stdout
    made = run("tokenizer", data, "--kind", "char", "--out", tmp_path / "tokens")
    assert made.returncode == 0 and (tmp_path / "tokens/tokens.txt").exists(), made.stderr
    (tmp_path / "texts").write_text("Seven, nine!\n")
    made = run(
        "tokenizer", tmp_path / "texts", "--kind", "word", "--case", "lower", "--no-punctuation", "--out", tmp_path
    )
    assert (tmp_path / "tokens.txt").read_text().splitlines()[-2:] == ["▁nine 2", "▁seven 3"], made.stderr
    assert "no problems" in run("data", "validate", data).stdout


def test_decode_with_a_beam_an_n_gram_and_hotwords(model_dir, data, tmp_path):
    (tmp_path / "hotwords").write_text("seven nine :9\n")
    assert run("lm", data, "--tokenizer", model_dir, "--out", tmp_path / "lm.arpa").returncode == 0
    search = ["--search", "beam", "--lm", tmp_path / "lm.arpa", "--hotwords", tmp_path / "hotwords"]
    done = run("decode", model_dir, "--data", data, "--out", tmp_path / "out", *search, "--streaming")
    assert done.returncode == 0 and "seven nine" in (tmp_path / "out/text").read_text(), done.stderr


def test_one_bad_file_among_many_is_named_and_the_others_are_transcribed(model_dir, data, tmp_path):
    (tmp_path / "bad.wav").write_text("no audio")
    good = sorted((data.parent / "audio").glob("*"))
    done = run("transcribe", model_dir, good[0], tmp_path / "bad.wav", tmp_path / "none.wav", *good[1:])
    assert done.returncode == 1 and [line.split("\t")[0] for line in done.stdout.splitlines()] == list(map(str, good))
    errors = done.stderr.splitlines()
    assert len(errors) == 3 and "bad.wav: not readable" in errors[0] and "none.wav: no such file" in errors[1]
    assert errors[2] == f"error: 2 of {len(good) + 2} files were not transcribed"


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_a_bar_is_for_the_terminal_and_words_are_for_the_file(model_dir, data):
    here, terminal = os.openpty()
    files, shown = sorted((data.parent / "audio").glob("*")), bytearray()

    def read() -> None:  # a terminal that nobody reads stops who writes to it
        while not shown.endswith(b"end"):
            shown.extend(os.read(here, 1000))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    code = "from audiorec.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "transcribe", str(model_dir), *map(str, files)],
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        env={**os.environ, "TERM": "xterm"},
        timeout=120,
    )
    os.write(terminal, b"end")
    reader.join(10)
    os.close(terminal)
    os.close(here)
    assert done.returncode == 0 and b"transcribing" in shown
    assert done.stdout == run("transcribe", model_dir, *files).stdout and done.stdout.count("\n") == len(files)


def test_transcribe_writes_formats_into_a_folder_and_goes_on_where_it_stopped(model_dir, data, tmp_path):
    audio, out = data.parent / "audio", tmp_path / "out"
    names = sorted(path.stem for path in audio.glob("*"))
    done = run("transcribe", model_dir, audio, "--format", "srt", "--out", out)
    assert done.returncode == 0 and f"{len(names)} of {len(names)} transcribed, real-time factor" in done.stderr
    assert sorted(path.name for path in out.iterdir()) == [f"{name}.srt" for name in names]
    written = (out / f"{names[0]}.srt").read_text()
    assert written.startswith("1\n00:00:0") and " --> " in written
    (out / f"{names[0]}.srt").write_text("mine")
    (out / f"{names[1]}.srt").unlink()
    done = run("transcribe", model_dir, audio, "--format", "srt", "--out", out)
    assert f"1 of {len(names)} transcribed, {len(names) - 1} were there" in done.stderr
    assert (out / f"{names[0]}.srt").read_text() == "mine"
    lines = run("transcribe", model_dir, audio, "--format", "json").stdout.splitlines()
    assert [json.loads(line)["name"] for line in lines] == names and json.loads(lines[0])["seconds"] > 0.1
    done = run("transcribe", model_dir, audio, "--format", "vtt")
    assert done.returncode == 2 and "several files need a folder, --out DIR" in done.stderr


def test_transcribe_reads_raw_samples_from_standard_input(model_dir, data):
    path = next(iter(sorted((data.parent / "audio").glob("*"))))
    samples, rate = read(path)
    raw = np.round(samples * 32768).clip(-32768, 32767).astype("<i2").tobytes()
    command = [sys.executable, "-c", "from audiorec.cli import main; main()", "transcribe", str(model_dir), "-"]
    done = subprocess.run([*command, "--sample-rate", str(rate)], input=raw, capture_output=True)
    assert " ".join(done.stdout.decode().split()) == run("transcribe", model_dir, path).stdout.strip()
    done = subprocess.run(command, input=raw, capture_output=True)
    assert done.returncode == 2 and b"needs --sample-rate" in done.stderr


def test_transcribe_takes_the_options_of_a_search(model_dir, data, tmp_path):
    (tmp_path / "hotwords").write_text("seven nine :9\n")
    audio = data.parent / "audio/u1.wav"
    plain = run("transcribe", model_dir, audio)
    search = "--search", "beam", "--beam", 6, "--hotwords", tmp_path / "hotwords", "--device", "auto"
    assert run("transcribe", model_dir, audio, *search).stdout.count("seven nine") > plain.stdout.count("seven nine")


def test_version_and_completion():
    version = run("--version")
    assert (version.returncode, version.stdout) == (0, f"audiorec {audiorec.__version__}\n")
    environment = {"_AUDIOREC_COMPLETE": "complete_bash", "COMP_WORDS": "audiorec tr", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['audiorec']; from audiorec.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert set(done.stdout.split()) == {"train", "transcribe"}, done.stderr


def broken_data(tmp_path):
    (tmp_path / "wav.scp").write_text("a a.wav\n")
    (tmp_path / "text").write_text("a one\nb two\n")
    return tmp_path


@pytest.mark.parametrize(
    "code, message, arguments",
    [
        (1, "none.wav: no such file", lambda m, d, t: ["transcribe", m, t / "none.wav"]),
        (1, "no such model directory", lambda m, d, t: ["info", t / "none"]),
        (1, "problems", lambda m, d, t: ["data", "validate", broken_data(t)]),
        (1, "no such folder", lambda m, d, t: ["decode", m, "--data", t / "none", "--out", t / "out"]),
        (1, "holds other files", lambda m, d, t: ["decode", m, "--data", d, "--out", d]),
        (1, "cannot be read", lambda m, d, t: ["score", d, t / "none"]),
        (2, "normalize.case: ", lambda m, d, t: ["tokenizer", d, "--kind", "word", "--case", "low", "--out", t]),
        (2, "unknown kind", lambda m, d, t: ["tokenizer", d, "--kind", "letters", "--out", t]),
        (2, "No such option", lambda m, d, t: ["info", m, "--colour"]),
        (2, "Missing option", lambda m, d, t: ["decode", m]),
        (2, "unknown key", lambda m, d, t: train(d, t, "encoder.dmi=3")),
        (2, "integer", lambda m, d, t: train(d, t, "encoder.dim=wide")),
        (2, "search.kind", lambda m, d, t: decode(m, d, t, "--search", "wide")),
        (2, "hotwords: needs a beam: add --search beam", lambda m, d, t: decode(m, d, t, "--hotwords", t)),
        (2, "max_symbols: head 'ctc' emits one", lambda m, d, t: ["transcribe", m, d, "--max-symbols", 2]),
        (2, "lm: needs a beam: add --search beam", lambda m, d, t: ["transcribe", m, d, "--lm", t]),
        (2, "beam: needs a beam: add --search beam", lambda m, d, t: decode(m, d, t, "--beam", 8)),
        (2, "no effect without lm", lambda m, d, t: decode(m, d, t, "--search", "beam", "--lm-weight", 0.5)),
        (2, "add --streaming", lambda m, d, t: decode(m, d, t, "--chunk-ms", 80)),
        (1, "device 'gpu'", lambda m, d, t: ["transcribe", m, d, "--device", "gpu"]),
        (1, "device meta", lambda m, d, t: ["align", m, "--data", d, "--out", t / "out", "--device", "meta"]),
        (1, "no such file", lambda m, d, t: ["train", t / "none.yaml", "--train", d, "--valid", d, "--out", t / "out"]),
    ],
)
def test_what_a_user_can_mend_is_one_line(model_dir, data, tmp_path, code, message, arguments):
    done = run(*arguments(model_dir, data, tmp_path))
    assert done.returncode == code and message in done.stderr and "Traceback" not in done.stderr
    if done.stderr.startswith("error:"):
        assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("out*")), "something half-written was left"


def test_what_is_not_installed_is_named_with_its_extra(tmp_path):
    code = "import sys; sys.modules['lightning'] = None; from audiorec.cli import main; main()"
    arguments = map(str, train(tmp_path, tmp_path))
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith(
        "error: lightning is not installed; pip install 'audiorec-speech[train]'"
    )


def decode(model, data, out, *settings):
    return ["decode", model, "--data", data, "--out", out / "out", *settings]


def train(data, out, *settings):
    from tests.conftest import ROOT

    where = ["--train", data, "--valid", data, "--out", out / "out"]
    return ["train", ROOT / "recipes/lstm_ctc.yaml", *settings, *where]
