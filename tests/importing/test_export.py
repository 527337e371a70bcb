"""An imported model exports like any other: `export_onnx` holds every graph to torch's offline frames before it is there."""

import numpy as np
import pytest

import audiorec
from audiorec.importing import import_model

from .nemo import GOLDEN, speech


@pytest.mark.slow
@pytest.mark.parametrize("head, ms", [("ctc", 80), ("transducer", 480)])
def test_onnxruntime_gives_its_words(head, ms, tmp_path):
    export = pytest.importorskip("audiorec.export")
    import_model(GOLDEN / "hybrid.nemo", tmp_path / "model")
    settings = export.export_onnx(tmp_path / "model", tmp_path / "onnx", head, ms)
    assert settings["error"] < 1e-4
    recognizer = audiorec.load(tmp_path / "onnx", endpoint=None)
    samples, expected = speech()[0].numpy(), audiorec.load(tmp_path / "model", head=head).at_latency(ms)
    text = expected.transcribe(samples).text
    stream = recognizer.stream()
    for piece in np.array_split(samples, 23):
        stream.accept(piece)
    assert stream.finish().text == text == recognizer.transcribe(samples).text
