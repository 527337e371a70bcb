"""Damaged audio: every mutation of a file of every format gives samples or one UserError, in bounded time and memory."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 16000
CPU_SECONDS = 1.0  # for a file
MEMORY = 2**28  # bytes beyond what Python and its modules take
EXTREMES = (0, 1, 2, 10, 999, 1023, 2**15, 2**16 - 1, 10**9, 2**31 - 1, 2**31, 2**32 - 1)


def originals() -> Iterator[tuple[str, bytes]]:
    """A file of half a second in every format and coding that libsndfile writes and reads back."""
    for format in sorted({*soundfile.available_formats()} - {"RAW", "SD2"}):  # their headers lie elsewhere
        for coding in soundfile.available_subtypes(format):
            for channels in (2, 1):
                if data := encode(format, coding, channels):
                    yield f"{format} {coding}", data
                    break


def encode(format: str, coding: str, channels: int) -> bytes | None:
    time = np.arange(RATE // 2)[:, None] / RATE
    samples = np.repeat(0.3 * np.sin(2 * np.pi * 440 * time), channels, 1)
    file = io.BytesIO()
    try:
        soundfile.write(file, samples, RATE, coding, format=format)
        file.seek(0)
        soundfile.read(file)
    except (soundfile.LibsndfileError, ValueError):  # not in this number of channels, or not at all
        return None
    return file.getvalue()


def mutate(data: bytes, random: np.random.Generator) -> bytes:
    """One to three changes: a byte or a number of the header or anywhere, a piece cut out, doubled or zeroed, the end lost."""
    data = bytearray(data)
    for _ in range(random.integers(1, 4)):
        header = min(len(data), 300 if random.random() < 0.7 else len(data))
        at, size = int(random.integers(header)), int(random.integers(1, 200))
        match int(random.integers(6)):
            case 0:
                data[at] = random.integers(256)
            case 1 | 2:
                width, order = int(random.choice([2, 4, 8])), ("little", "big")[int(random.integers(2))]
                number = EXTREMES[int(random.integers(len(EXTREMES)))] * (1 if width < 8 else 1000)
                data[at : at + width] = (number % 2 ** (8 * width)).to_bytes(width, order)
            case 3:
                del data[at : at + size]
            case 4:
                data[at:at] = data[at : at + size] if random.random() < 0.5 else bytes(size)
            case 5:
                del data[int(random.integers(1, len(data))) :]
        data = data or bytearray(b"\0")
    return bytes(data)


def hammer(each: int, accept_truncated: bool) -> dict[str, int]:
    """Read mutations, ``each`` of every original, under limits that kill the process; return how many ended how."""
    import logging
    import resource
    import signal

    from audiorec.audio.read import read
    from audiorec.errors import UserError

    logging.disable()
    files, counts = list(originals()), {"samples": 0, "refused": 0}
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    for name, original in files:
        for number in range(each):
            data = mutate(original, np.random.default_rng([number, len(original), accept_truncated]))
            print(f"{name} {number}", file=sys.stderr)  # the last line names the culprit
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            try:
                samples, rate = read(io.BytesIO(data), RATE, accept_truncated=accept_truncated)
            except UserError as error:
                assert "\n" not in str(error), str(error)
                counts["refused"] += 1
            else:
                assert rate == RATE and samples.ndim == 1 and len(samples) and np.isfinite(samples).all()
                counts["samples"] += 1
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
    return counts


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")
@pytest.mark.parametrize("accept_truncated", [False, True])
@pytest.mark.parametrize("each", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_damage_gives_samples_or_one_error_in_bounded_time_and_memory(each, accept_truncated):
    command = [sys.executable, __file__, str(each), str(int(accept_truncated))]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert run.returncode == 0, run.stderr.splitlines()[-8:]
    (counts,) = (json.loads(line) for line in run.stdout.splitlines() if line.startswith("{"))  # decoders print, too
    assert sum(counts.values()) > 60 * each and min(counts.values()) > 10 * each


if __name__ == "__main__":
    print(json.dumps(hammer(int(sys.argv[1]), sys.argv[2] == "1")))
