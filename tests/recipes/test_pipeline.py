"""The digits recipe from its recordings to its page of results, small; stages are skipped, resumed and redone rightly."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from audiorec.audio.read import write
from audiorec.data.kaldi import read_data_dir, write_data_dir
from audiorec.text import load_tokenizer
from tests.conftest import RECORDINGS, ROOT

SMALL = ["trainer.max_epochs=5", "encoder.dim=24", "encoder.layers=1", "data.batch_seconds=60"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    shutil.copytree(
        ROOT / "egs/digits",
        folder / "egs/digits",
        ignore=shutil.ignore_patterns("data", "exp", "RESULTS.md", "*.jsonl"),
    )
    return folder


def start(clone: Path, *arguments: str, corpus: str = "digits") -> subprocess.CompletedProcess:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment.pop("AUDIOREC_DATA", None)
    command = [clone / "egs" / corpus / "run.sh", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def run(clone: Path, *arguments: str, corpus: str = "digits") -> str:
    done = start(clone, *arguments, corpus=corpus)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_from_recordings_to_results(clone):
    home = clone / "egs/digits"
    run(clone, "--stop-stage", "2")
    assert (home / "data/unseen/test/text").exists() and not (home / "exp").exists()
    assert not any("theo" in line for line in (home / "data/unseen/train/text").read_text().splitlines())
    assert all("theo" in line for line in (home / "data/unseen/test/text").read_text().splitlines())
    first = run(clone, *SMALL)
    assert first.count("WER") >= 8 and first.count("0 utterances differ") == 6
    results = (home / "RESULTS.md").read_text()
    assert "official" in results and "unseen" in results and "lstm_ctc" in results
    again = run(clone, *SMALL)
    assert "already trained" in again and "pieces" not in again
    assert "epoch " not in again and " s of audio, " not in again, "a stage that was done was done again"
    (home / "exp/lstm_ctc/decode/.streamed-160").unlink()
    (home / "exp/lstm_ctc/decode/streamed-160.part").mkdir()  # as a decoding that was cut off leaves it
    assert run(clone, "--stage", "5", *SMALL).count(" s of audio, ") == 1


@pytest.fixture
def tiny(clone, tmp_path) -> Path:
    """A clone with a corpus whose data directories are prepared already."""
    home = tmp_path / "egs/tiny"
    shutil.copytree(clone / "recipes", tmp_path / "recipes")
    for part in ("train", "dev", "test"):
        write_data_dir(home / "data/all" / part, read_data_dir(RECORDINGS)[::300])
    (home / "data/.done").touch()
    (home / "run.sh").write_text(
        "#!/usr/bin/env bash\nset -euo pipefail\n"
        'cd "$(dirname "${BASH_SOURCE[0]}")"\n'
        "corpus=tiny title=Tiny splits=all recipe=lstm_ctc options=() notes=()\nsource ../../recipes/pipeline.sh\n"
    )
    (home / "run.sh").chmod(0o755)
    return tmp_path


@pytest.mark.slow
def test_settings_of_the_tokenizer_reach_its_stage_which_is_redone_when_they_change(tiny):
    pieces = tiny / "egs/tiny/data/all/tokenizer"
    stage = ["--stage", "2", "--stop-stage", "2"]
    run(tiny, *stage, "tokenizer.kind=word", "tokenizer.normalize.case=upper", corpus="tiny")
    assert load_tokenizer(pieces).pieces[2:] == ["▁EIGHT", "▁FOUR", "▁SIX", "▁TWO", "▁ZERO"]
    run(tiny, *stage, "tokenizer.size=30", corpus="tiny")
    assert load_tokenizer(pieces).kind == "bpe" and load_tokenizer(pieces).size == 30
    wrong = start(tiny, *stage, "tokenizer.sise=30", corpus="tiny")
    assert wrong.returncode == 2 and "tokenizer.sise: unknown key" in wrong.stderr and wrong.stderr.count("\n") == 1


@pytest.mark.slow
def test_other_tokens_have_a_tokenizer_and_a_run_of_their_own(tiny):
    stage = ["--stage", "2", "--stop-stage", "2"]
    run(tiny, *stage, "--tokens", "char", corpus="tiny")
    run(tiny, *stage, "--tokens", "word", corpus="tiny")
    kinds = [load_tokenizer(tiny / f"egs/tiny/data/all/tokenizer_{kind}").kind for kind in ("char", "word")]
    assert kinds == ["char", "word"] and not (tiny / "egs/tiny/data/all/tokenizer").exists()
    wrong = start(tiny, "--stage", "5", "--tokens", "char", corpus="tiny")
    assert wrong.returncode == 1 and "exp/lstm_ctc_char" in wrong.stderr


@pytest.mark.slow
def test_a_second_decoding_and_a_second_seed_stand_beside_the_first(tiny):
    home, settings = tiny / "egs/tiny", [*SMALL, "encoder.planes=4", "features.sample_rate=8000", "tokenizer.kind=word"]
    run(tiny, *settings, corpus="tiny")
    first = home / "exp/lstm_ctc/decode/offline/text"
    before = first.stat().st_mtime_ns
    second = ["--stage", "5", "--stop-stage", "5", "--decode-name", "two", "--search", "beam"]
    for beam, decodings in [(2, 4), (2, 0), (3, 4)]:  # the same settings again, then others
        assert run(tiny, *second, "--beam", str(beam), *settings, corpus="tiny").count("real-time factor") == decodings
    run(tiny, *second, "--stop-stage", "6", "--beam", "3", *settings, corpus="tiny")
    row = json.loads((home / "exp/lstm_ctc/decode/two-offline/score.json").read_text())
    assert row["search"] == "two" and "--decode-name two --search beam --beam 3" in row["command"]
    assert first.stat().st_mtime_ns == before
    run(tiny, "--stage", "3", "trainer.seed=2", *settings, corpus="tiny")
    table = (home / "RESULTS.md").read_text().partition("### Delays")[0]
    lines = [line.split(" | ") for line in table.splitlines() if line.startswith("| lstm")]
    assert [(line[1], line[2]) for line in lines] == [("–", "2"), ("two", "–")] and "±" in lines[0][4]
    refused = start(tiny, "--stage", "3", *settings, "tokenizer.normalize.case=upper", corpus="tiny")
    assert refused.returncode == 2 and "begun with tokenizer.normalize.case=none" in refused.stderr


@pytest.mark.slow
def test_robustness_and_long_form_decode_copies_of_the_test_set_once(tiny, model_dir):
    home = tiny / "egs/tiny"
    shutil.copytree(model_dir, home / "exp/lstm_ctc/model")
    noise = tiny / ".cache/noise/esc10/rain/5-a.flac"
    noise.parent.mkdir(parents=True)
    write(noise, 0.1 * np.random.default_rng(0).standard_normal(16000), 8000)
    script = home / "run.sh"
    script.write_text(script.read_text().replace("notes=()", "notes=() ratios=5 lengths=2"))
    command = ["--stage", "5", "--robustness", "--long-form"]
    assert run(tiny, *command, corpus="tiny").count(" s of audio, ") == 4 + 3 + 2
    page = (home / "RESULTS.md").read_text()
    assert "| recipe | clean | noise 5 dB | reverberated | telephone |" in page
    plain = "egs/tiny/run.sh --recipe lstm_ctc"
    assert f"```\n{plain}\n{plain} --long-form\n{plain} --robustness\n```" in page
    (streamed,) = (line for line in page.splitlines() if line.startswith("| lstm_ctc | 160 ms |"))
    assert streamed.endswith("| 0 |"), "words differ from those of whole utterances"
    html = (home / "exp/lstm_ctc/report.html").read_text()
    assert "<h2>Robustness" in html and "<h2>Long form" in html
    assert " s of audio, " not in run(tiny, *command, "--stop-stage", "5", corpus="tiny"), "a copy was decoded again"
    noise.rename(noise.with_name("1-a.flac"))
    (home / "data/all/.test-noise-5").unlink()
    refused = start(tiny, *command, corpus="tiny")
    assert refused.returncode == 1 and "no audio file is called esc10/*/5-*" in refused.stderr


@pytest.mark.slow
def test_dev_and_the_model_of_8_bits_are_decoded_beside_the_test_set(tiny, model_dir):
    home = tiny / "egs/tiny"
    shutil.copytree(model_dir, home / "exp/lstm_ctc/model")
    script = home / "run.sh"
    script.write_text(script.read_text().replace("notes=()", "notes=() besides=dev"))
    assert run(tiny, "--stage", "5", "--int8", corpus="tiny").count(" s of audio, ") == 4 + 2
    page = (home / "RESULTS.md").read_text()
    _, test, dev = page.partition("## Commands")[0].split("\n## all")
    header, *lines = (
        line.split(" | ") for line in test.partition("### Delays")[0].splitlines() if line.startswith("| ")
    )
    (int8,) = (dict(zip(header, line, strict=True)) for line in lines if line[1] == "onnx int8")
    assert int8["WER offline"] == "–" and int8["streamed, 160 ms"] != "–" and int8["differ"].isdigit()
    assert dev.startswith(" dev (") and "| lstm_ctc |" in dev and "int8" not in dev
    assert "egs/tiny/run.sh --recipe lstm_ctc --int8\n" in page
    done = run(tiny, "--stage", "5", "--int8", corpus="tiny")
    assert " s of audio, " not in done and list(home.glob("exp/lstm_ctc/onnx-int8/*.onnx"))


def test_a_recipe_that_begins_with_another_asks_for_it(tiny):
    """On each split its own: a model trained on the unseen speaker must not begin the training that leaves him out."""
    script = tiny / "egs/tiny/run.sh"
    script.write_text(script.read_text().replace("splits=all", "splits='all other'"))
    command = ["--recipe", "lstm_tdt", "--stage", "3", "--stop-stage", "3"]
    done = start(tiny, *command, "--splits", "other", "trainer.seed=5", corpus="tiny")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert " exp/lstm_rnnt_seed5_other," in done.stderr and "--recipe lstm_rnnt" in done.stderr


@pytest.mark.slow
def test_a_recipe_begins_with_another_and_learns_its_paths(tiny):
    """From the run of its own split; what is given by hand goes before it."""
    bin_folder, said = tiny / ".venv/bin", tiny / "said"
    bin_folder.mkdir(parents=True)
    real = Path(sys.executable).parent / "audiorec"
    (bin_folder / "audiorec").write_text(
        f'#!/usr/bin/env bash\nif [ $1 = train ]; then echo "$@" >{said}; else exec {real} "$@"; fi\n'
    )
    (bin_folder / "audiorec").chmod(0o755)
    (tiny / "egs/tiny/exp/lstm_rnnt/model").mkdir(parents=True)
    command = ["--recipe", "lstm_rnnt_viterbi", "--stage", "3", "--stop-stage", "3"]
    run(tiny, *command, corpus="tiny")
    assert ".yaml trainer.aligner=exp/lstm_rnnt --train " in said.read_text()
    both = "trainer.init_from_recipe=lstm_rnnt"
    run(tiny, *command, both, corpus="tiny")
    assert f" {both} trainer.init_from=exp/lstm_rnnt trainer.aligner=exp/lstm_rnnt --train " in said.read_text()
    run(tiny, *command, both, "trainer.aligner=other", corpus="tiny")
    assert f" {both} trainer.aligner=other trainer.init_from=exp/lstm_rnnt --train " in said.read_text()
    (tiny / "egs/tiny/exp/lstm_rnnt/model").rmdir()
    done = start(tiny, *command, "trainer.init_from=other", corpus="tiny")
    assert done.returncode == 1 and "error: lstm_rnnt_viterbi needs exp/lstm_rnnt," in done.stderr


def test_a_training_without_its_beginning_is_refused():
    where = ["--train", "data", "--valid", "data", "--out", "exp/lstm_tdt"]
    command = [sys.executable, "-c", "from audiorec.cli import main; main()", "train", "recipes/lstm_tdt.yaml", *where]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "trainer.init_from: this recipe begins with a trained lstm_rnnt" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--recipe", "none"], ["--colour"], ["--colour", "1"], ["--stage"], ["--stage", "two"], ["--decode-name", "a/b"]],
)
def test_wrong_use_says_so(clone, arguments):
    done = subprocess.run([clone / "egs/digits/run.sh", *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_results_that_are_no_words_have_no_robustness_of_words():
    done = subprocess.run([ROOT / "egs/vad/run.sh", "--long-form"], capture_output=True, text=True)
    assert done.returncode == 2 and "--long-form and --int8 count words" in done.stderr and done.stderr.count("\n") == 1
