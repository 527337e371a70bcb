"""Stock sherpa-onnx, which loads an export and streams it, says what audiorec says of the same audio."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import audiorec
from audiorec.encoders import ENCODERS
from audiorec.export import export_sherpa
from audiorec.models import save_model
from audiorec.text import train_tokenizer
from tests.conftest import WORDS
from tests.models.test_heads import HEADS, make, sharpen

for library in ("onnx", "onnxscript", "onnxruntime", "sherpa_onnx"):
    pytest.importorskip(library)

# CTC with a look-ahead of chunks and without; a stateless predictor; that of an LSTM, one symbol a frame.
KINDS = "ctc", "stateless", "modified", "jumps"
MINE = {
    "stateless": {"transducer": {"loss": {"kind": "pruned", "rnnt_type": "modified"}, "joiner_dim": 16}},
    "jumps": {"transducer": {"loss": {"kind": "tdt", "durations": [1, 2, 3]}, "joiner_dim": 16}},
}
QUICK = {("transformer", "ctc"), ("lstm", "stateless"), ("transformer", "modified"), ("lstm", "jumps")}
PAIRS = [
    pytest.param(encoder, head, marks=() if (encoder, head) in QUICK else pytest.mark.slow)
    for encoder in sorted(ENCODERS.kinds)
    for head in (*KINDS, *(["tdt"] if encoder == "gru" else []))
]


def stock(folder: Path, audio: Path, method: str = "greedy_search", batch: int = 1) -> list[dict]:
    script = Path(__file__).with_name("stock.py")
    command = [sys.executable, str(script), str(folder), str(audio), method, str(batch)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("encoder, head", PAIRS)
def test_stock_sherpa_says_what_audiorec_says(encoder, head, speech, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.models.test_heads.HEADS", {**HEADS, **MINE})
    model, config = make(encoder, head)
    sharpen(model, speech[8000:24000])
    save_model(tmp_path / "model", model, config, train_tokenizer("word", [WORDS]), "")
    settings = export_sherpa(tmp_path / "model", tmp_path / "out")
    # Silence before, too: where a recording begins, sherpa-onnx mirrors it, and audiorec has zeros.
    around = 80, round(8000 * settings["tail_seconds"])
    recordings = [np.pad(speech[a:b], around) for a, b in ((8000, 24000), (30000, 41111), (90000, 90100))]
    np.savez(tmp_path / "audio.npz", *recordings)
    alone = stock(tmp_path / "out", tmp_path / "audio.npz")
    assert stock(tmp_path / "out", tmp_path / "audio.npz", batch=3) == alone
    recognizer = audiorec.load(tmp_path / "model", endpoint=None)
    for samples, said in zip(recordings, alone, strict=True):
        stream = recognizer.stream()
        stream.accept(samples)
        tokens = [token for segment in stream.finish().segments for token in segment.tokens]
        seen = heard(len(samples), settings)
        ours = [(" " + token.text.strip("▁"), round(token.start / settings["frame_seconds"])) for token in tokens]
        assert places(said, settings) == [(text, frame) for text, frame in ours if frame < seen]
    assert len({token for said in alone for token in said["tokens"]}) > 2, "the model says next to nothing"


def heard(samples: int, settings: dict) -> int:
    """The frames that sherpa-onnx computes: of whole chunks after which one feature more is there."""
    features = (samples - 180) // 80 + 1  # whose 25 ms are there, the first of which begin 7.5 ms before the audio
    chunks = (features - 1) // settings["chunk"]
    return chunks * settings["chunk"] // 3 - settings["late_frames"]


def places(said: dict, settings: dict) -> list[tuple[str, int]]:
    """Tokens and their frames, of the times that the README says how to read."""
    late = settings["late_frames"] * settings["frame_seconds"]
    seconds = [time * settings["time_scale"] - late for time in said["times"]]
    # A TDT's frame may have several tokens, at times of their own.
    return [
        (token, int(t / settings["frame_seconds"] + 1e-3)) for token, t in zip(said["tokens"], seconds, strict=True)
    ]
