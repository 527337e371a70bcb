"""One live stream of hours: does it cost, hold and hear at its end what it did at its start?

python tools/bench/long_stream.py MODEL --data DIR [--hours 3] [--piece 160]

The utterances of DIR follow one another, again and again, with pauses of half a second to two seconds between. Printed for
each hour: the word error rate with its 95 % interval, the cost of `accept` and of `partial`, the process's memory, the
bytes of the stream's state; then whether the words are those of `transcribe` and of one forward pass over the whole.
"""

import argparse
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from audiorec.data.kaldi import Recordings, read_data_dir
from audiorec.evaluation import score
from audiorec.recognizer import load

PAUSE_SECONDS = 0.5, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--piece", type=float, default=160.0, help="milliseconds")
    parser.add_argument("--whole", action="store_true", help="also in one forward pass: an hour takes gigabytes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recognizer = load(options.model)
    rate = recognizer.sample_rate
    texts, audio = recording(options.data, rate, options.hours * 3600)
    size = round(options.piece * rate / 1000)
    hour = min(3600.0, options.hours * 3600 / 3)
    stream, segments, rows = recognizer.stream(segments_only=True), [], []
    accepts, partials = [], []
    for start in range(0, len(audio), size):
        began = time.perf_counter()
        segments += stream.accept(audio[start : start + size])
        accepts.append(time.perf_counter() - began)
        began = time.perf_counter()
        stream.partial()
        partials.append(time.perf_counter() - began)
        if (start + size) / rate >= hour * (len(rows) + 1) or start + size >= len(audio):
            rows.append((accepts, partials, memory(), stream._runner.state_bytes))
            accepts, partials = [], []
    segments += stream.finish().segments
    words = [word for segment in segments for word in segment.words]
    print(
        "| part of the stream | WER, % | accept, ms | partial, ms | memory, MB | state, bytes |\n|---|---|---|---|---|---|"
    )
    for i, (accepts, partials, kilobytes, state) in enumerate(rows):
        # Per utterance, so that the interval has units: the words that end in it, or in the pause after it.
        names = [n for n, (begin, _) in enumerate(texts) if hour * i <= begin < hour * (i + 1)]
        said = {str(n): [] for n in names}
        begins = [begin for begin, _ in texts] + [float("inf")]
        for word in words:
            n = int(np.searchsorted(begins, word.end)) - 1
            if str(n) in said:
                said[str(n)].append(word.text)
        found = score({str(n): texts[n][1] for n in names}, {n: " ".join(row) for n, row in said.items()})
        low, high = found.interval
        print(
            f"| {hour * i / 3600:.2f} to {hour * (i + 1) / 3600:.2f} h, {len(names)} utterances | {100 * found.wer:.2f} "
            f"[{100 * low:.2f}, {100 * high:.2f}] | {1000 * statistics.median(accepts):.3f} | "
            f"{1000 * statistics.median(partials):.3f} | {kilobytes // 1000} | {state:,} |",
            flush=True,
        )
    live = " ".join(segment.text for segment in segments)
    print(f"{len(words)} words in {len(segments)} segments")
    print(f"words that differ from transcribe: {difference(live, recognizer.transcribe(audio).text)}")
    if options.whole:
        print(
            f"words that differ from one forward pass: {difference(live, recognizer.transcribe_batch([audio])[0].text)}"
        )


def recording(data: Path, rate: int, seconds: float) -> tuple[list[tuple[float, str]], np.ndarray]:
    """(begin in seconds, text) of each utterance, and the samples (T,) of all, pauses between."""
    draw, recordings, parts, texts, length = random.Random(0), Recordings(), [], [], 0
    noise = np.random.default_rng(0)
    for utterance in endlessly(read_data_dir(data)):
        pause = noise.normal(0, 1e-4, round(draw.uniform(*PAUSE_SECONDS) * rate)).astype(np.float32)
        samples = recordings.samples(utterance, rate)
        texts.append(((length + len(pause)) / rate, utterance.text))
        parts += [pause, samples]
        length += len(pause) + len(samples)
        if length >= seconds * rate:
            return texts, np.concatenate(parts)
    raise AssertionError("it never ends")


def endlessly(utterances: list) -> Iterator:
    while True:
        yield from utterances


def memory() -> int:
    """Kilobytes that the process holds now."""
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])


def difference(a: str, b: str) -> int:
    """Words that stand at the same place in both texts and are not the same; all where the texts are not as long."""
    first, second = a.split(), b.split()
    return sum(x != y for x, y in zip(first, second, strict=False)) + abs(len(first) - len(second))


if __name__ == "__main__":
    main()
