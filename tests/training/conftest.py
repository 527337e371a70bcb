"""A small training: seconds of digits, and the recipe lstm_ctc with the encoder of ``model_dir``."""

from dataclasses import replace
from pathlib import Path

import pytest

from audiorec.audio.read import write
from audiorec.config import load_config
from audiorec.data.kaldi import Recordings, read_data_dir, write_data_dir
from audiorec.training.config import RunConfig
from tests.conftest import RECORDINGS, ROOT

SETTINGS = [
    "features.sample_rate=8000",
    "features.bins=20",
    'encoder={"kind":"lstm","dim":16,"layers":2,"strides":[3]}',
    "tokenizer.kind=word",
    "data.batch_seconds=8",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
]


def recipe(*settings: str) -> RunConfig:
    return load_config(RunConfig, ROOT / "recipes/lstm_ctc.yaml", [*SETTINGS, *settings])


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A folder with the data directories train (50 clips) and dev (15), each clip a file: no long recording to decode."""
    folder, clips, recordings = tmp_path_factory.mktemp("digits"), read_data_dir(RECORDINGS), Recordings()
    for name, part in (("train", clips[::60]), ("dev", clips[1::200])):
        (folder / name).mkdir()
        for i, clip in enumerate(part):
            path = folder / name / f"{clip.id}.wav"
            write(path, recordings.samples(clip, 8000), 8000)
            part[i] = replace(clip, recording=clip.id, path=path, start=0.0, end=None)
        write_data_dir(folder / name, part)
    return folder
