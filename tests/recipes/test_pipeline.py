"""The digits recipe from its recordings to its page of results, small; stages are skipped, resumed and redone rightly."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SMALL = ["trainer.max_epochs=5", "encoder.dim=24", "encoder.layers=1", "data.batch_seconds=60"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    shutil.copytree(
        ROOT / "egs/digits", folder / "egs/digits", ignore=shutil.ignore_patterns("data", "exp", "RESULTS.md")
    )
    return folder


def run(clone: Path, *arguments: str) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment.pop("AUDIOREC_DATA", None)
    command = [clone / "egs/digits/run.sh", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
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
    assert "already trained" in again
    assert "epoch " not in again and "real-time factor" not in again, "a stage that was done was done again"
    (home / "exp/lstm_ctc/decode/.streamed-160").unlink()
    (home / "exp/lstm_ctc/decode/streamed-160.part").mkdir()  # as a decoding that was cut off leaves it
    assert run(clone, "--stage", "5", *SMALL).count("real-time factor") == 1


def test_a_recipe_that_begins_with_another_asks_for_it(clone):
    """On each split its own: a model trained on the unseen speaker must not begin the training that leaves him out."""
    command = [clone / "egs/digits/run.sh", "--recipe", "lstm_tdt", "--stage", "3", "--stop-stage", "3"]
    for split, run in {"official": "exp/lstm_rnnt", "unseen": "exp/lstm_rnnt_unseen"}.items():
        done = subprocess.run([*command, "--splits", split], capture_output=True, text=True)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert f" {run}," in done.stderr and "--recipe lstm_rnnt" in done.stderr


@pytest.mark.parametrize("arguments", [["--recipe", "none"], ["--colour"], ["--stage"]])
def test_wrong_use_says_so(clone, arguments):
    done = subprocess.run([clone / "egs/digits/run.sh", *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
