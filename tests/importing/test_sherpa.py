"""Stock sherpa-onnx, which loads an export of an imported model and streams it, says what audiorec says of the same audio."""

import shutil

import numpy as np
import pytest
import torch

import audiorec
from audiorec.config import parse
from audiorec.export import export_sherpa
from audiorec.importing import import_model
from audiorec.models import AsrModel, ModelConfig, load_model, save_model
from tests.export.test_sherpa import places, stock

from .nemo import GOLDEN, speech

for library in ("onnx", "onnxscript", "onnxruntime", "sherpa_onnx"):
    pytest.importorskip(library)

SILENT = 160  # samples before the first: where a recording begins, sherpa-onnx mirrors it, and audiorec has zeros


def hold(folder, out, head: str, ms: float, language: str | None = None) -> None:
    """Export; the stock package says, one by one and in batches, what audiorec says, token by token, frame by frame."""
    settings = export_sherpa(folder, out, head, ms, language)
    assert settings["error"] < 1e-4
    samples = speech()[0].numpy()
    around = SILENT, round(16000 * settings["tail_seconds"])
    recordings = [np.pad(samples[a:b], around) for a, b in ((0, None), (30000, 111111), (90000, 90500))]
    np.savez(out.with_suffix(".npz"), *recordings)
    alone = stock(out, out.with_suffix(".npz"))
    assert stock(out, out.with_suffix(".npz"), batch=3) == alone
    recognizer = audiorec.load(folder, head=head, endpoint=None, language=language).at_latency(ms)
    for given, said in zip(recordings, alone, strict=True):
        tokens = recognizer.transcribe(given).tokens
        seen = heard(len(given), settings)
        ours = [(token.text.replace("▁", " "), round(token.start / settings["frame_seconds"])) for token in tokens]
        assert places(said, settings) == [(text, frame) for text, frame in ours if frame < seen]
        assert seen * settings["frame_seconds"] >= (len(given) - around[1]) / 16000, "the tail is too short"
    assert len({token for said in alone for token in said["tokens"]}) > 5


def heard(samples: int, settings: dict) -> int:
    """The frames that sherpa-onnx computes: of whole chunks after which one feature more is there."""
    features = (samples + 80 - 280) // 160 + 1  # after 5 ms of silence; each sees 17.5 ms from its place on
    return (features - 1) // settings["chunk"] * settings["chunk"] // 8


def tell_language(folder) -> None:
    """Give the model a prompt: of x the net makes x, but for what the language adds before its ReLU."""
    model, tokenizer, config = load_model(folder)
    prompt = {"classes": 8, "languages": {"de-DE": 3, "auto": 5}}
    config = parse(ModelConfig, {**config.model_dump(), "prompt": prompt})
    torch.manual_seed(0)
    told, one = AsrModel(config, tokenizer.size), torch.eye(24)
    told.load_state_dict(model.state_dict(), strict=False)
    first, _, second = told.prompt.net
    with torch.no_grad():
        first.weight[:, :24], first.weight[:, 24:] = torch.cat([one, -one]), torch.randn(48, 8) / 2
        second.weight.copy_(torch.cat([one, -one], 1))
    shutil.rmtree(folder)
    save_model(folder, told, config, tokenizer, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, head, ms, language", [("hybrid", "transducer", 80, "de-DE"), ("ctc", "ctc", 1040, None)]
)
def test_stock_sherpa_says_what_audiorec_says(name, head, ms, language, tmp_path):
    import_model(GOLDEN / f"{name}.nemo", tmp_path / "model")
    if language:
        tell_language(tmp_path / "model")
    hold(tmp_path / "model", tmp_path / "out", head, ms, language)
