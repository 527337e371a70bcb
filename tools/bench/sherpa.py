"""An export for sherpa-onnx beside audiorec on a test set: python tools/bench/sherpa.py EXPORT MODEL DATA [--beam] [--batch 8]

The stock package streams each recording, with the tail of silence that the export asks for, alone or ``--batch`` at a time;
audiorec streams the same samples in pieces of 160 ms. It prints the utterances whose words differ, and the real-time factors.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stock import given, recognizer, results

import audiorec
from audiorec.config import read_yaml
from audiorec.data.kaldi import Recordings, read_data_dir


def our_words(recognizer: Any, samples: np.ndarray, piece: int) -> str:
    stream = recognizer.stream()
    for start in range(0, len(samples), piece):
        stream.accept(samples[start : start + piece])
    return stream.finish().text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--beam", action="store_true", help="modified beam search of 4, beside audiorec's of 4")
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = read_yaml(options.export / "export.yaml")
    rate = settings["sample_rate"]
    tail = np.zeros(round(settings["tail_seconds"] * rate), np.float32)
    audio, utterances = Recordings(), read_data_dir(options.data)
    recordings = [np.concatenate([audio.samples(utterance, rate), tail]) for utterance in utterances]
    its = recognizer(options.export, "modified_beam_search" if options.beam else "greedy_search")
    ours = audiorec.load(options.model, search={"kind": "beam", "beam": 4} if options.beam else None)

    start = time.perf_counter()
    said = [
        result.text.strip()
        for result in results(its, [given(options.export, one) for one in recordings], options.batch)
    ]
    middle = time.perf_counter()
    expected = [our_words(ours, samples, rate * 160 // 1000) for samples in recordings]
    end, seconds = time.perf_counter(), sum(map(len, recordings)) / rate
    differing = 0
    for utterance, a, b in zip(utterances, said, expected, strict=True):
        if a != b:
            differing += 1
            print(f"{utterance.id}: sherpa-onnx {a!r}, audiorec {b!r}")
    print(
        f"{len(recordings)} utterances, {sum(len(text.split()) for text in expected)} words: {differing} utterances differ"
    )
    print(f"real-time factor: sherpa-onnx {(middle - start) / seconds:.4f}, audiorec {(end - middle) / seconds:.4f}")


if __name__ == "__main__":
    main()
