"""Stock sherpa-onnx, which loads an export of an imported model and streams it, says what audiorec says of the same audio."""

import copy
import shutil

import numpy as np
import pytest
import torch

from audiorec.audio.nemo import NemoMel
from audiorec.config import parse
from audiorec.export import export_sherpa
from audiorec.export.sherpa_parts import Heard
from audiorec.importing import import_model
from audiorec.models import AsrModel, ModelConfig, load_model, save_model
from tests.export.sherpa import places, stock

from .nemo import GOLDEN, speech

for library in ("onnx", "onnxscript", "onnxruntime", "sherpa_onnx"):
    pytest.importorskip(library)
SILENT = 160  # samples before the first: where a recording begins, sherpa-onnx mirrors it, and audiorec has zeros


def hold(folder, out, head: str, ms: float, language: str | None = None) -> None:
    """Export; the stock package says, one by one and in batches, what torch says of the features that it computes, token by
    token, frame by frame. Those are near NeMo's, but of random weights every margin is small."""
    settings = export_sherpa(folder, out, head, ms, language)
    assert settings["error"] < 1e-4
    samples = speech()[0].numpy()
    around = SILENT, round(16000 * settings["tail_seconds"])
    recordings = [np.pad(samples[a:b], around) for a, b in ((0, None), (30000, 111111), (90000, 90500))]
    np.savez(out.with_suffix(".npz"), *recordings)
    alone = stock(out, out.with_suffix(".npz"))
    assert stock(out, out.with_suffix(".npz"), batch=3) == alone
    model, tokenizer, _ = load_model(folder)
    model = model.exit(head).at_latency(ms).eval()
    model = model if language is None else model.in_language(language)
    for samples, said in zip(recordings, alone, strict=True):
        seen = heard(len(samples), settings)
        assert seen * settings["frame_seconds"] >= (len(samples) - around[1]) / 16000, "the tail is too short"
        x = its_features(out, samples, 8 * seen)
        audio = torch.from_numpy(samples)[None, :, None]
        ours, its = (one(audio)[0][0, : len(x)] for one in (model.features, with_its_window(model.features)))
        assert (x - ours).abs().mean() < 0.01 and (x - its).abs().max() < 0.01, "nothing but the window differs"
        search = model.head(head).search()
        tokens, _ = search.step(model.body(x[None])[0][:, :seen], None, search.initial_state(1))
        ids, frames = tokens.row(0)
        expected = [(tokenizer.pieces[i].replace("▁", " "), frame) for i, frame in zip(ids, frames, strict=True)]
        assert places(said, settings) == expected
    assert len({token for said in alone for token in said["tokens"]}) > 5


def its_features(out, samples: np.ndarray, count: int) -> torch.Tensor:
    """What sherpa-onnx computes of them, as the graph reads it (T, bins)."""
    from tools.bench.stock import given, recognizer

    stream = recognizer(out, "greedy_search").create_stream()
    stream.accept_waveform(16000, given(out, samples))
    features = np.array(stream.get_frames(0, count), np.float32).reshape(count, -1)
    return Heard(NemoMel(NemoMel.Config(bins=features.shape[1])))(torch.from_numpy(features))


def with_its_window(features: NemoMel) -> NemoMel:
    """The same with a Hann window that is a 400th longer, sherpa-onnx's."""
    periodic, symmetric = (torch.hann_window(400, periodic, dtype=torch.float64) for periodic in (True, False))
    longer = copy.deepcopy(features)
    longer.spectrum *= (periodic / symmetric.clamp_min(1e-12))[:, None].float()
    return longer


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
