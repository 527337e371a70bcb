"""Opening and reading a data directory of small files, and the same in tar files (`audiorec data shard`).

    python tools/bench/shards.py [--utterances 20000] [--read 4000] [--at FOLDER]

A network disk pays for each call of the system that looks a name up (open, stat); strace counts them, less those of the imports.
For reading the system is asked to forget what the files hold; it keeps their names, so opening small files is as on a disk that
was just listed, and not as cold as it can be.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from audiorec.audio.read import write
from audiorec.data.durations import CACHE, utterance_seconds
from audiorec.data.kaldi import Recordings, read_data_dir
from audiorec.data.shards import write_shards
from audiorec.data.utterance import Utterance

RATE, SECONDS = 16000, 2.0


def make(home: Path, count: int) -> None:
    """``plain``: flac files of soft noise, a thousand in a folder; ``shards``: the same thousand in a tar file."""
    lines = []
    for number in range(count):
        name, folder = f"u{number:07d}", home / f"plain/{number // 1000}"
        folder.mkdir(parents=True, exist_ok=True)
        if number < 100:
            noise = np.random.default_rng(number).normal(0, 0.01, round(SECONDS * RATE))
            write(folder / f"{name}.flac", noise, RATE)
        else:
            shutil.copyfile(home / f"plain/0/u{number % 100:07d}.flac", folder / f"{name}.flac")
        lines.append(f"{name} {folder}/{name}.flac\n")
    (home / "plain/wav.scp").write_text("".join(lines))
    (home / "plain/text").write_text("".join(f"u{number:07d} four words of text\n" for number in range(count)))
    found = read_data_dir(home / "plain")
    write_shards(home / "shards", found, dict.fromkeys((u.id for u in found), SECONDS), "copy")


def opening(folder: Path) -> None:
    found = read_data_dir(folder)
    seconds, bad = utterance_seconds(folder, found)
    assert len(seconds) == len(found) and not bad


def drawn(folder: Path, count: int) -> list[Utterance]:
    """So many utterances in a random order, as a training has them."""
    found = read_data_dir(folder)
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))[:count]]


def reading(utterances: list[Utterance]) -> None:
    recordings = Recordings(max_bytes=0)
    for utterance in utterances:
        assert len(recordings.samples(utterance, RATE)) == SECONDS * RATE


def timed_reading(utterances: list[Utterance]) -> None:
    os.sync()  # what is not written yet cannot be forgotten
    for path in {getattr(utterance.path, "archive", utterance.path) for utterance in utterances}:
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
    clock, own = time.perf_counter(), time.process_time()
    reading(utterances)
    clock, own = (1000 * x / len(utterances) for x in (time.perf_counter() - clock, time.process_time() - own))
    print(f"  {own:.2f} ms of the processor an utterance read, {clock:.2f} of the clock")


def calls(part: str, folder: Path, count: int) -> int:
    """How often this program asks the system for a name when it does this part alone."""
    traced = [
        "strace",
        "-f",
        "-c",
        "-e",
        "trace=openat,open,newfstatat,stat,lstat,statx,access",
        sys.executable,
        __file__,
    ]
    done = subprocess.run([*traced, "--only", part, folder, "--read", str(count)], capture_output=True, text=True)
    return int(re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+).*total$", done.stderr, re.M)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=20_000)
    parser.add_argument("--read", type=int, default=4000)
    parser.add_argument("--at", type=Path, help="where the folders are made")
    parser.add_argument("--only", nargs=2, metavar=("PART", "FOLDER"), help="for the counting")
    options = parser.parse_args()
    parts = {
        "nothing": lambda folder: None,
        "open": opening,
        "read": lambda folder: reading(drawn(folder, options.read)),
    }
    if options.only:
        parts[options.only[0]](Path(options.only[1]))
        return
    with tempfile.TemporaryDirectory(dir=options.at) as home:
        make(Path(home), options.utterances)
        for name, known in (("plain", False), ("plain", True), ("shards", True)):
            folder, own = Path(home) / name, time.process_time()
            if known:
                (folder / "utt2dur").write_bytes((folder.parent / "shards/utt2dur").read_bytes())
            opening(folder)
            print(
                f"{name}{', with utt2dur' if known else ''}\n  {time.process_time() - own:.2f} s of the processor to open it"
            )
            timed_reading(drawn(folder, options.read))
            (folder / CACHE).unlink(missing_ok=True)
            if shutil.which("strace"):
                imports, opened, read = (calls(part, folder, options.read) for part in parts)
                print(f"  {opened - imports} names looked up to open it, {read - imports} to open its tables and read")


if __name__ == "__main__":
    main()
