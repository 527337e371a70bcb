import pytest
import torch

from tests.export.command import export, model_of


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run with an LSTM with CTC, which `audiorec export` has exported to ``onnx`` in it, and what that said."""
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    model = model_of(folder / "model", encoder={"kind": "lstm", "dim": 64, "layers": 1})
    (model / "times.yaml").write_text("delays: {}\n")
    return folder, export(folder, "--format", "onnx")
