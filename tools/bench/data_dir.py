"""Seconds of work to open a data directory of a million utterances: tables, durations (first and again), an epoch's batches.

    python tools/bench/data_dir.py [--utterances 1000000] [--segments | --shards]

With --shards the tables name members of tar files, a thousand in each, and their seconds; the tar files are empty.
Without --segments every utterance is a file; all are links to one wav, so that headers are read and nothing is decoded.
"""

import argparse
import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from audiorec.audio.read import write
from audiorec.data.buckets import bucket
from audiorec.data.durations import utterance_seconds
from audiorec.data.kaldi import read_data_dir


@contextmanager
def timed(what: str) -> Iterator[None]:
    gc.collect()
    start = time.process_time()
    yield
    print(f"{what}: {time.process_time() - start:.2f} s", flush=True)


def make_shards(folder: Path, count: int) -> None:
    names = [f"speaker{number // 100:06d}-{number:07d}" for number in range(count)]
    words = " ".join(["nineteen", "words", "and", "one"] * 5)
    lines: dict[str, Iterator[str]] = {
        "text": (f"{name} {words}" for name in names),
        "utt2spk": (f"{name} {name[:13]}" for name in names),
        "wav.scp": (f"{name} audio.{i // 1000:06d}.tar:{512 + i % 1000 * 33280}" for i, name in enumerate(names)),
        "utt2dur": (f"{name} {1 + i % 1000 / 1000}" for i, name in enumerate(names)),
    }
    for name, rows in lines.items():
        (folder / name).write_text("\n".join(rows) + "\n")
    for number in range(-(-count // 1000)):
        with open(folder / f"audio.{number:06d}.tar", "wb") as file:
            file.truncate(1000 * 33280)


def make(folder: Path, count: int, segments: bool) -> None:
    """Utterances of 20 words, 100 a speaker; a hundred segments a recording, or files in folders of a thousand."""
    write(folder / "one.wav", np.zeros(16000 * 120 if segments else 16000), 16000)
    names = [f"speaker{number // 100:06d}-{number:07d}" for number in range(count)]
    words = " ".join(["nineteen", "words", "and", "one"] * 5)
    recordings = sorted({name[:13] for name in names}) if segments else names
    lines: dict[str, Callable[[], Iterator[str]]] = {
        "text": lambda: (f"{name} {words}" for name in names),
        "utt2spk": lambda: (f"{name} {name[:13]}" for name in names),
        "wav.scp": lambda: (f"{name} {folder}/{i // 1000}/{name}.wav" for i, name in enumerate(recordings)),
    }
    if segments:
        lines["segments"] = lambda: (f"{n} {n[:13]} {i % 100:.2f} {i % 100 + 1.5:.2f}" for i, n in enumerate(names))
    for name, rows in lines.items():
        (folder / name).write_text("\n".join(rows()) + "\n")
    for i, name in enumerate(recordings):
        home = folder / str(i // 1000)
        if i % 1000 == 0:
            home.mkdir()
            shutil.copy(folder / "one.wav", home / "one.wav")
        os.link(home / "one.wav", home / f"{name}.wav")  # a file has at most 65,000 names, so each folder has its own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=1_000_000)
    parser.add_argument("--segments", action="store_true")
    parser.add_argument("--shards", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        if options.shards:
            make_shards(folder, options.utterances)
        else:
            make(folder, options.utterances, options.segments)
        with timed(f"tables of {options.utterances} utterances"):
            utterances = read_data_dir(folder)
        assert len(utterances) == options.utterances
        with timed("durations, by utt2dur" if options.shards else "durations, by their headers"):
            seconds, bad = utterance_seconds(folder, utterances)
        with timed("durations again"):
            again, _ = utterance_seconds(folder, utterances)
        assert again == seconds and not bad
        lengths = [seconds[utterance.id] for utterance in utterances]
        with timed("an epoch's batches"):
            bucket(lengths, 600.0, 30, np.random.default_rng(0))


if __name__ == "__main__":
    main()
