"""Stock sherpa-onnx, which loads an export and streams it, says what audiorec says of the same audio."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import audiorec
from audiorec.encoders import ENCODERS
from audiorec.export import export_sherpa
from audiorec.models import AsrModel, load_model, load_model_config, save_model
from audiorec.text import train_tokenizer
from tests.conftest import ROOT, WORDS
from tests.export.sherpa import places, stock
from tests.models.test_heads import HEADS, make, sharpen

for library in ("onnx", "onnxscript", "onnxruntime", "sherpa_onnx"):
    pytest.importorskip(library)

# CTC with a look-ahead of chunks and without; a stateless predictor; that of an LSTM, one symbol a frame, and of two with
# NeMo's joiner.
KINDS = "ctc", "stateless", "modified", "zeros", "jumps"
MINE = {
    "stateless": {"transducer": {"loss": {"kind": "pruned", "rnnt_type": "modified"}, "joiner_dim": 16}},
    "zeros": {
        "transducer": {
            "loss": {"kind": "full", "rnnt_type": "modified"},
            "joiner_dim": 16,
            "joiner_activation": "relu",
            "predictor": {"kind": "lstm", "dim": 8, "layers": 2, "start": "zero"},
        }
    },
    "jumps": {"transducer": {"loss": {"kind": "tdt", "durations": [1, 2, 3]}, "joiner_dim": 16}},
}
QUICK = {("transformer", "ctc"), ("lstm", "stateless")}
PAIRS = [
    pytest.param(encoder, head, marks=() if (encoder, head) in QUICK else pytest.mark.slow)
    for encoder in sorted(ENCODERS.kinds)
    for head in (*KINDS, *(["tdt"] if encoder == "gru" else []))
]


@pytest.mark.parametrize("encoder, head", PAIRS)
def test_stock_sherpa_says_what_audiorec_says(encoder, head, speech, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.models.test_heads.HEADS", {**HEADS, **MINE})
    model, config = make(encoder, head)
    sharpen(model, speech[8000:24000])
    save_model(tmp_path / "model", model, config, train_tokenizer("word", [WORDS]), "")
    hold(tmp_path, speech, next(iter(model.heads)))


def test_its_beam_is_that_of_icefall_and_its_readme_runs(speech, tmp_path, monkeypatch):
    """sherpa-onnx's modified beam search, written down in torch, over audiorec's frames: the same tokens."""
    monkeypatch.setattr("tests.models.test_heads.HEADS", {**HEADS, **MINE})
    model, config = make("gru", "stateless")
    sharpen(model, speech[8000:24000])
    save_model(tmp_path / "model", model, config, train_tokenizer("word", [WORDS]), "")
    settings = export_sherpa(tmp_path / "model", tmp_path / "out")
    recordings = [np.pad(speech[a:b], (80, 4000)) for a, b in ((8000, 24000), (30000, 41111))]
    np.savez(tmp_path / "audio.npz", *recordings)
    alone = stock(tmp_path / "out", tmp_path / "audio.npz", "modified_beam_search")
    assert stock(tmp_path / "out", tmp_path / "audio.npz", "modified_beam_search", batch=2) == alone
    model, tokenizer, _ = load_model(tmp_path / "model")
    for samples, said in zip(recordings, alone, strict=True):
        with torch.no_grad():
            x, _ = model(torch.from_numpy(samples)[None])
            ids = icefall_beam(model.head(), x[0, : heard(len(samples), settings)])
        assert [" " + tokenizer.pieces[i].strip("▁") for i in ids] == said["tokens"] and len(set(ids)) > 2
    soundfile.write(tmp_path / "out" / "hello.wav", speech[8000:24000], 8000, subtype="FLOAT")
    code = (tmp_path / "out" / "README.md").read_text().split("```python")[1].split("```")[0]
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "out", capture_output=True, text=True)
    np.savez(tmp_path / "audio.npz", np.pad(speech[8000:24000], (0, int(8000 * settings["tail_seconds"]))))
    assert result.stdout.strip() == stock(tmp_path / "out", tmp_path / "audio.npz")[0]["text"], result.stderr


def icefall_beam(head, x: torch.Tensor, beam: int = 4) -> list[int]:
    """Modified beam search: the best ``beam`` of all continuations of a frame, then equal ones added; the best by length."""
    hypotheses: dict[tuple[int, ...], float] = {(): 0.0}
    for frame in head.joiner.encoder_proj(x):
        logits = []
        for tokens in hypotheses:
            state = head.predictor.initial_state(1)
            for token in tokens[-head.predictor.context :]:
                state = head.predictor.step(torch.tensor([token]), state)
            logits.append(head.joiner(frame, head.joiner.predictor_proj(head.predictor.output(state))[0]))
        scores = torch.stack(logits).log_softmax(-1).double()
        scores += torch.tensor(list(hypotheses.values()))[:, None]
        best, places = scores.flatten().topk(beam)
        old, hypotheses = list(hypotheses), {}
        for score, place in zip(best.tolist(), places.tolist(), strict=True):
            tokens = old[place // scores.shape[1]] + ((place % scores.shape[1],) if place % scores.shape[1] else ())
            hypotheses[tokens] = float(np.logaddexp(hypotheses.get(tokens, -np.inf), score))
    return list(max(hypotheses, key=lambda t: hypotheses[t] / (len(t) + head.predictor.context)))


SMALL = {"dim": 16, "layers": 2, "planes": 4}
RECIPES = sorted(path for path in (ROOT / "recipes").glob("*.yaml") if path.stem not in ("lmu_classify", "min_gru_vad"))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_streams_in_sherpa(recipe, speech, tmp_path):
    """Smaller, with random weights."""
    values = ["features.sample_rate=8000", "features.bins=40", "tokenizer.kind=word"]
    config = load_model_config(recipe, [*values, *(f"encoder.{key}={value}" for key, value in SMALL.items())])
    torch.manual_seed(1)
    model = AsrModel(config, train_tokenizer("word", [WORDS]).size)
    model.features.set_statistics(torch.full((40,), -9.0), torch.full((40,), 3.0))
    sharpen(model, speech[8000:24000])
    save_model(tmp_path / "model", model, config, train_tokenizer("word", [WORDS]), "")
    for head in model.heads:
        hold(tmp_path, speech, head)


def hold(folder: Path, speech: np.ndarray, head: str) -> None:
    """Export the model at ``folder``/model; stock sherpa-onnx says, one by one and in batches, what audiorec says."""
    settings = export_sherpa(folder / "model", folder / "out", head)
    # Silence before, too: where a recording begins, sherpa-onnx mirrors it, and audiorec has zeros.
    around = 80, round(8000 * settings["tail_seconds"])
    recordings = [np.pad(speech[a:b], around) for a, b in ((8000, 24000), (30000, 41111), (90000, 90100))]
    np.savez(folder / "audio.npz", *recordings)
    alone = stock(folder / "out", folder / "audio.npz")
    assert stock(folder / "out", folder / "audio.npz", batch=3) == alone
    recognizer = audiorec.load(folder / "model", head=head, endpoint=None)
    for samples, said in zip(recordings, alone, strict=True):
        stream = recognizer.stream()
        stream.accept(samples)
        tokens = [token for segment in stream.finish().segments for token in segment.tokens]
        ours = [(" " + token.text.strip("▁"), round(token.start / settings["frame_seconds"])) for token in tokens]
        seen = heard(len(samples), settings)
        assert seen * settings["frame_seconds"] >= (len(samples) - around[1]) / 8000, "the tail is too short"
        assert places(said, settings) == [(text, frame) for text, frame in ours if frame < seen]
    assert len({token for said in alone for token in said["tokens"]}) > 2, "the model says next to nothing"


def heard(samples: int, settings: dict) -> int:
    """The frames that sherpa-onnx computes: of whole chunks after which one feature more is there."""
    features = (samples - 180) // 80 + 1  # whose 25 ms are there, the first of which begin 7.5 ms before the audio
    chunks = (features - 1) // settings["chunk"]
    return round(chunks * settings["chunk"] / 100 / settings["frame_seconds"]) - settings["late_frames"]
