"""What many tests need: real speech of the clone, the shared folder where it is, and a small model that says something."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
RECORDINGS = ROOT / "egs" / "digits" / "recordings"
TINY = {
    "features": {"sample_rate": 8000, "bins": 20},
    "encoder": {"kind": "lstm", "dim": 16, "layers": 2, "strides": [3]},
    "heads": "ctc",
    "tokenizer": {"kind": "word"},
}
WORDS = "zero one two three four five six seven eight nine"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked cuda are for `make gpu`, which names the device."""
    if "AUDIOREC_TEST_DEVICE" in os.environ:
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="runs on an NVIDIA GPU: make gpu"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden values and corpora beside the clone."""
    folder = Path(os.environ.get("AUDIOREC_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("no shared folder: set AUDIOREC_SHARED to the folder with golden/ and data/")
    return folder


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """Half a minute of real speech (T,) at 8 kHz."""
    from audiorec.audio.read import read

    return read(RECORDINGS / "theo.opus")[0][: 30 * 8000]


def make_model(folder: Path, **encoder) -> Path:
    """Write a model directory with random weights, scaled so that its words change with what it hears."""
    from audiorec.config import parse
    from audiorec.models import AsrModel, ModelConfig, save_model
    from audiorec.text import train_tokenizer

    torch.manual_seed(3)
    config = parse(ModelConfig, {**TINY, "encoder": encoder or TINY["encoder"]})
    tokenizer = train_tokenizer("word", [WORDS])
    model = AsrModel(config, tokenizer.size)
    with torch.no_grad():
        model.features.set_statistics(torch.full((20,), -9.0), torch.full((20,), 3.0))
        for parameter in model.encoder.parameters():
            parameter.mul_(2)
        model.head().linear.weight.mul_(20)
        model.head().linear.bias.zero_()
    save_model(folder, model, config, tokenizer, f"# {folder.name}\n")
    return folder


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny")
