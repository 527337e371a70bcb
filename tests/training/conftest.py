"""A small training: seconds of digits, and the recipe lstm_ctc made tiny."""

from pathlib import Path

import pytest

from audiorec.config import load_config
from audiorec.data.kaldi import read_data_dir, write_data_dir
from audiorec.training.config import RunConfig
from tests.conftest import RECORDINGS, ROOT

SETTINGS = [
    "features.sample_rate=8000",
    "features.bins=20",
    "encoder.dim=16",
    "encoder.layers=1",
    "tokenizer.kind=word",
    "data.batch_seconds=8",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
]


def recipe(*settings: str) -> RunConfig:
    return load_config(RunConfig, ROOT / "recipes/lstm_ctc.yaml", [*SETTINGS, *settings])


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A folder with the data directories train (50 clips) and dev (15)."""
    folder = tmp_path_factory.mktemp("digits")
    clips = read_data_dir(RECORDINGS)
    write_data_dir(folder / "train", clips[::60])
    write_data_dir(folder / "dev", clips[1::200])
    return folder
