"""The stock sherpa-onnx package in a process of its own, since wrong metadata would end the one that it runs in.

python stock.py FOLDER AUDIO.npz METHOD BATCH: reads arrays of samples, prints a JSON list of what each recording's stream said.
"""

import json
import sys
from pathlib import Path

import numpy as np
import sherpa_onnx
import yaml


def recognizer(folder: Path, method: str) -> sherpa_onnx.OnlineRecognizer:
    settings = yaml.safe_load((folder / "export.yaml").read_text())
    ctc = settings["interface"] == "zipformer2_ctc"
    names = ["model"] if ctc else ["encoder", "decoder", "joiner"]
    make = sherpa_onnx.OnlineRecognizer
    return (make.from_zipformer2_ctc if ctc else make.from_transducer)(
        **{name: str(folder / f"{name}.onnx") for name in names},
        **({} if ctc else {"model_type": "lstm"}),
        tokens=str(folder / "tokens.txt"),
        num_threads=1,
        sample_rate=settings["sample_rate"],
        feature_dim=settings["feature_dim"],
        decoding_method=method,
    )


def main(folder: str, audio: str, method: str, batch: str) -> None:
    one = recognizer(Path(folder), method)
    rate, said = one.config.feat_config.sampling_rate, []
    recordings = list(np.load(audio).values())
    for start in range(0, len(recordings), int(batch)):
        streams = []
        for samples in recordings[start : start + int(batch)]:
            streams.append(one.create_stream())
            streams[-1].accept_waveform(rate, samples)
        while ready := [stream for stream in streams if one.is_ready(stream)]:
            one.decode_streams(ready)
        results = [one.get_result_all(stream) for stream in streams]
        said += [{"text": r.text.strip(), "tokens": r.tokens, "times": r.timestamps} for r in results]
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
