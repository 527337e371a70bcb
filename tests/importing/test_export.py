"""An imported model exports like any other: `export_onnx` holds every graph to torch's offline frames before it is there."""

import numpy as np
import pytest

import audiorec
from audiorec.errors import UserError
from audiorec.export import export_onnx
from audiorec.export.quantised import check, quantise_folder
from audiorec.importing import import_model
from audiorec.models import load_model

from .nemo import GOLDEN, speech

for library in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(library)
MS, OTHER = 480, 80


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """An imported model, its export at MS and OTHER, and that with weights of 8 bits."""
    root = tmp_path_factory.mktemp("exported")
    model, floats, small = (root / name for name in ("model", "onnx", "int8"))
    import_model(GOLDEN / "hybrid.nemo", model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("audiorec.export.onnx.SIZES", (1,))  # each graph takes seconds to trace
        patch.setattr("audiorec.export.int8._SMALLEST", 256)  # no weight of this model is worth it
        assert export_onnx(model, floats, "transducer", [MS, OTHER])["error"] < 1e-4
        small.mkdir()
        quantise_folder(floats, small)
    return model, floats, small


def streamed(recognizer, samples: np.ndarray) -> list[str]:
    stream = recognizer.stream()
    for piece in np.array_split(samples, 23):
        stream.accept(piece)
    return [token.text for token in stream.finish().tokens]


@pytest.mark.slow
@pytest.mark.parametrize("ms", [MS, OTHER])
def test_onnxruntime_gives_its_words_at_each_latency_of_the_export(folders, ms):
    model, floats, _ = folders
    samples = speech()[0].numpy()
    recognizer = audiorec.load(floats, endpoint=None).at_latency(ms)
    expected = audiorec.load(model, head="transducer", endpoint=None).at_latency(ms).transcribe(samples)
    tokens = [token.text for token in expected.tokens]
    assert streamed(recognizer, samples) == tokens == [token.text for token in recognizer.transcribe(samples).tokens]
    assert len(set(tokens)) > 5
    with pytest.raises(UserError, match="latency 0 ms: this export has 480, 80 ms; export the model at the other one"):
        recognizer.at_latency(0)


@pytest.mark.slow
@pytest.mark.parametrize("ms", [MS, OTHER])
def test_bytes_say_the_same_live_as_of_a_file(folders, ms):
    """Of random weights every margin is small, so words may be others than those of floats; the frames are near."""
    model, floats, small = folders
    samples = speech()[0].numpy()
    assert check(small, load_model(model)[0].exit("transducer").at_latency(ms), "transducer") < 0.25
    recognizer = audiorec.load(small, endpoint=None).at_latency(ms)
    tokens = [token.text for token in recognizer.transcribe(samples).tokens]
    assert streamed(recognizer, samples) == tokens and len(set(tokens)) > 5
    assert (small / "weights.bin").stat().st_size < (floats / "weights.bin").stat().st_size
