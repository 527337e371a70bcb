"""How long must a client listen on after the last sound, so that no last word is lost?

python tools/bench/last_word.py MODEL… --data DIR [--tails 0,60,100,150,200,300,400]

DIR is a Kaldi data directory with `words.ctm`, which says where words begin and end. Each recording is cut after its last
sound: the last 10 ms of its last word that are less than 25 dB below the loudest. Printed for each tail of silence put behind,
and for the one that the recogniser hears by itself (`times.yaml`): how many recordings have fewer words than uncut. A stream has
the words of the recording, so it loses the same.
"""

import argparse
from pathlib import Path

import numpy as np

from audiorec.data.kaldi import Recordings, read_data_dir
from audiorec.recognizer import Recognizer, load

QUIET_DB = 25.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tails", default="0,60,100,150,200,300,400", help="milliseconds")
    options = parser.parse_args()
    for path in options.models:
        recognizer = load(path)
        rate, plain = recognizer.sample_rate, Recognizer(recognizer.model, recognizer.tokenizer)
        wholes, cut = recordings(options.data, rate)
        expected = [len(result.words) for result in plain.transcribe(wholes)]
        for tail in map(int, options.tails.split(",")):
            lost = losers(plain, cut, expected, tail)
            print(f"{path}: {tail} ms after the last sound: {lost} of {len(cut)} recordings lose words", flush=True)
        own, lost = 1000 * recognizer.tail / rate, losers(recognizer, cut, expected, 0)
        print(f"{path}: its own {own:.0f} ms: {lost} of {len(cut)} recordings lose words", flush=True)


def losers(recognizer: Recognizer, recordings: list[np.ndarray], expected: list[int], tail: int) -> int:
    """How many recordings with so many ms of silence behind have fewer words than expected."""
    silence = np.zeros(tail * recognizer.sample_rate // 1000, np.float32)
    heard = recognizer.transcribe([np.concatenate([part, silence]) for part in recordings])
    return sum(len(result.words) < count for result, count in zip(heard, expected, strict=True))


def recordings(folder: Path, rate: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """All recordings, and the same up to the last sound of their last word."""
    ends: dict[str, tuple[float, float]] = {}
    for line in (folder / "words.ctm").read_text().splitlines():
        name, _, begin, duration, *_ = line.split()
        ends[name] = max(ends.get(name, (0.0, 0.0)), (float(begin), float(begin) + float(duration)))
    audio = Recordings()
    wholes, cut = [], []
    for utterance in read_data_dir(folder):
        samples = audio.samples(utterance, rate)
        begin, end = (round(second * rate) for second in ends[utterance.id])
        size = rate // 100
        frames = samples[begin : begin + (end - begin) // size * size].reshape(-1, size)
        power = (frames.astype(np.float64) ** 2).mean(1)
        last = np.flatnonzero(power > power.max() * 10 ** (-QUIET_DB / 10))[-1]
        wholes.append(samples)
        cut.append(samples[: begin + size * (last + 1)])
    return wholes, cut


if __name__ == "__main__":
    main()
