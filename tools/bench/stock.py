"""The stock sherpa-onnx package over an export, for tests and benchmarks.

python tools/bench/stock.py FOLDER AUDIO.npz METHOD BATCH reads arrays of samples and prints a JSON list of what each recording's
stream said: a process of its own for tests, since wrong metadata would end the one that it runs in.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sherpa_onnx
import yaml


def recognizer(folder: Path, method: str, threads: int = 1) -> sherpa_onnx.OnlineRecognizer:
    settings = yaml.safe_load((folder / "export.yaml").read_text())
    interface = settings["interface"]
    ctc = interface.endswith("ctc")
    names = ["model"] if ctc else ["encoder", "decoder", "joiner"]
    make = sherpa_onnx.OnlineRecognizer
    return (getattr(make, f"from_{interface}") if ctc else make.from_transducer)(
        **{name: str(folder / f"{name}.onnx") for name in names},
        **({"model_type": "lstm"} if interface == "lstm" else {}),
        tokens=str(folder / "tokens.txt"),
        num_threads=threads,
        sample_rate=settings["sample_rate"],
        feature_dim=settings["feature_dim"],
        decoding_method=method,
    )


def given(folder: Path, samples: np.ndarray) -> np.ndarray:
    """What the README of an export says to give for these samples, but for the silence after them."""
    settings = yaml.safe_load((folder / "export.yaml").read_text())
    before = round(settings["silence_before"] * settings["sample_rate"])
    return settings["sample_scale"] * np.pad(samples, (before, 0))


def results(one: sherpa_onnx.OnlineRecognizer, recordings: Sequence[np.ndarray], batch: int) -> list[Any]:
    """What each recording's stream said, ``batch`` of them at a time."""
    rate, found = one.config.feat_config.sampling_rate, []
    for start in range(0, len(recordings), batch):
        streams = []
        for samples in recordings[start : start + batch]:
            streams.append(one.create_stream())
            streams[-1].accept_waveform(rate, samples)
        while ready := [stream for stream in streams if one.is_ready(stream)]:
            one.decode_streams(ready)
        found += [one.get_result_all(stream) for stream in streams]
    return found


def main(folder: str, audio: str, method: str, batch: str) -> None:
    recordings = [given(Path(folder), samples) for samples in np.load(audio).values()]
    found = results(recognizer(Path(folder), method), recordings, int(batch))
    print(json.dumps([{"text": r.text.strip(), "tokens": r.tokens, "times": r.timestamps} for r in found]))


if __name__ == "__main__":
    main(*sys.argv[1:])
