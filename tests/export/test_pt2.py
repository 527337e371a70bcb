"""`--format pt2`: torch.export's programs, loaded again, give torch's offline numbers, and the runtime says what it reads."""

import pytest

import audiorec
from audiorec.errors import UserError
from audiorec.export import export_pt2
from audiorec.export.check import TOLERANCE, Programs, largest_error
from audiorec.models import load_model, save_model
from audiorec.text import train_tokenizer
from tests.conftest import WORDS
from tests.models.test_heads import make

for library in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(library)


@pytest.mark.slow  # as slow as ONNX's graphs, which hold the same law
@pytest.mark.parametrize("encoder, head", [("lstm", "tdt"), *((kind, "ctc") for kind in ("mamba", "conformer", "gru"))])
def test_loaded_programs_are_streamed_is_offline(encoder, head, tmp_path):
    model, config = make(encoder, head)
    save_model(tmp_path / "model", model, config, train_tokenizer("word", [WORDS]), "")
    settings = export_pt2(tmp_path / "model", tmp_path / "out")
    assert settings["kind"] == "pt2" and settings["error"] <= TOLERANCE
    model, _, _ = load_model(tmp_path / "model")
    name = next(iter(model.heads))
    for rows in (1, 5):
        assert largest_error(Programs(tmp_path / "out"), model.eval(), name, rows, [1, 5, 2]) <= TOLERANCE
    with pytest.raises(UserError, match=r"kind 'pt2'.* this version reads kind onnx"):
        audiorec.load(tmp_path / "out")
