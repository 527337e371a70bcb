"""Exported models by onnxruntime beside the same models by torch: python tools/bench/runtime.py [--rounds 7]

LSTMs of ten million parameters with random weights and 500 pieces, one thread; the transducer's blank is favoured, so that it
says little. Torch and onnxruntime take turns in one process; medians of the rounds. Speech is the digits' recordings:
one stream in pieces of 160 ms, sixteen sessions of an engine in such pieces, and a file at once. Real-time factors of all streams
together, and how much the process's own memory grows by loading.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from live import OUTPUTS, RATE

import audiorec
from audiorec.audio.read import read
from audiorec.audio.resample import Resampler
from audiorec.config import parse
from audiorec.export.onnx import write_export
from audiorec.live import BaseRecognizer
from audiorec.models import AsrModel, ModelConfig
from audiorec.text import train_tokenizer

SECONDS, PIECE, SESSIONS = 10, RATE * 160 // 1000, 16
SPEECH = Path(__file__).resolve().parents[2] / "egs" / "digits" / "recordings" / "theo.opus"


def stream(recognizer: BaseRecognizer, samples: np.ndarray) -> audiorec.Result:
    with recognizer.stream() as live:
        for start in range(0, len(samples), PIECE):
            live.accept(samples[start : start + PIECE])
    return live.partial()


def sessions(recognizer: BaseRecognizer, samples: np.ndarray) -> None:
    with audiorec.Engine(recognizer, slots=SESSIONS, queue_seconds=2 * SECONDS) as engine:
        every = [engine.session() for _ in range(SESSIONS)]
        for start in range(0, len(samples), PIECE):
            for session in every:
                session.accept(samples[start : start + PIECE])
        for session in every:
            session.finish()


def own_megabytes() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("RssAnon"))


def factor(
    call: Callable[[BaseRecognizer, np.ndarray], object],
    recognizer: BaseRecognizer,
    samples: np.ndarray,
    seconds: float,
) -> float:
    start = time.perf_counter()
    call(recognizer, samples)
    return (time.perf_counter() - start) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    recorded, rate = read(SPEECH)
    samples = Resampler(rate, RATE).push(recorded)[: SECONDS * RATE]
    tokenizer = train_tokenizer("word", [" ".join(f"w{i}" for i in range(OUTPUTS - 2))])
    for head in ("ctc", "transducer"):
        torch.manual_seed(0)
        keys = {"encoder": {"kind": "lstm", "dim": 528}, "heads": head, "tokenizer": {"kind": "word"}}
        config = parse(ModelConfig, keys)
        model = AsrModel(config, OUTPUTS).eval()
        if head == "transducer":
            with torch.no_grad():
                model.head().joiner.output.bias[0] += 0.75
        with tempfile.TemporaryDirectory() as folder:
            write_export(Path(folder), model, head, tokenizer, config)
            before, start = own_megabytes(), time.perf_counter()
            mine = audiorec.load(folder)
            took, grown = time.perf_counter() - start, own_megabytes() - before
            megabytes = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
            torchs = audiorec.Recognizer(model, tokenizer)
            a, b = stream(torchs, samples), stream(mine, samples)
            print(
                f"{head}: {megabytes:.0f} MB on disk, loaded in {took:.2f} s to {grown:.0f} MB; {len(a.tokens)} tokens in "
                f"{SECONDS} s, {'the same words' if a.text == b.text else 'other words'}"
            )
            cases = {
                "one stream": (stream, SECONDS),
                f"{SESSIONS} sessions": (sessions, SECONDS * SESSIONS),
                "a file": (lambda recognizer, given: recognizer.transcribe(given), SECONDS),
            }
            for name, (call, seconds) in cases.items():
                pairs = [[factor(call, one, samples, seconds) for one in (torchs, mine)] for _ in range(rounds)]
                first, second = (statistics.median(column) for column in zip(*pairs, strict=True))
                print(f"  {name}: torch {first:.4f}, onnxruntime {second:.4f}, ratio {first / second:.2f}")


if __name__ == "__main__":
    main()
