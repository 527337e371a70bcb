"""How soon last words come over sockets: python tools/bench/server.py MODEL [--streams 64] [--minutes 1] [--peer PORT]

Starts `audiorec serve MODEL` in a process of its own and speaks to it over loopback, in real time: each of the clients sends an
utterance of the digits' recordings (1 to 6 s, at a random place), with a silence of up to 2 s in it, in pieces of 160 ms, ends
right after its last sample, and begins another session after a pause of up to a second. *Finalise* is from the message that says
so until the last words are there. Every text is compared with that of the same samples offline. *Piece to words* is the engine's
own, from `/metrics`: upper bounds of its histogram. Memory is what the server's process holds, read each five seconds; its slope
is that of a line through the second half of the run. `--protocol vosk` and `sherpa-onnx` speak these; `--peer PORT` speaks to a
server that runs already, one of sherpa-onnx itself, say, and compares no words.

Half an hour, `--minutes 30`, is a soak. The clients share the machine with the server.
"""

import argparse
import asyncio
import json
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import numpy as np
from serving import speech
from websockets.asyncio.client import ClientConnection, connect

import audiorec

PIECE = 0.16  # seconds
READ_SECONDS = 5.0  # between two looks at the server's memory


class Turn(NamedTuple):
    """One session: what was said, what was heard, and how long after its end the words came."""

    samples: np.ndarray
    text: str
    seconds: float


def utterance(draw: random.Random) -> np.ndarray:
    """Speech with a silence in it (T,)."""
    samples, rate = speech()
    size = int(draw.uniform(1, 6) * rate)
    start = draw.randrange(len(samples) - size)
    said, middle = samples[start : start + size], draw.randrange(size)
    silence = np.zeros(int(draw.uniform(0, 2) * rate), np.float32)
    samples = np.concatenate([said[:middle], silence, said[middle:]])
    return (np.rint(samples * 32768).clip(-32768, 32767) / 32768).astype(np.float32)  # as 16 bits hold them


class Own:
    """`/v1/stream`."""

    path = "/v1/stream"

    def __init__(self, socket: ClientConnection, rate: int):
        self.socket, self.rate = socket, rate

    async def begin(self) -> None:
        await self.socket.send(json.dumps({"type": "config", "sample_rate": self.rate, "encoding": "float32"}))

    async def send(self, samples: np.ndarray) -> None:
        await self.socket.send(samples.astype("<f4").tobytes())

    async def end(self) -> None:
        await self.socket.send('{"type": "finish"}')

    async def text(self) -> str:
        texts = []
        async for message in self.socket:
            event = json.loads(message)
            if event["type"] == "final":
                texts.append(event["text"])
            if event["type"] == "end":
                break
        return " ".join(texts)


class Vosk(Own):
    """vosk-server's protocol: an answer to every message, read as they come."""

    path = "/vosk"

    async def begin(self) -> None:
        await self.socket.send(json.dumps({"config": {"sample_rate": self.rate}}))

    async def send(self, samples: np.ndarray) -> None:
        await self.socket.send(np.rint(samples * 32768).astype("<i2").tobytes())

    async def end(self) -> None:
        await self.socket.send('{"eof" : 1}')

    async def text(self) -> str:
        texts = []
        async for message in self.socket:
            if text := json.loads(message).get("text"):
                texts.append(text)
        return " ".join(texts)


class Sherpa(Own):
    """sherpa-onnx's protocol, of its online server."""

    path = "/sherpa-onnx"

    async def begin(self) -> None:
        pass

    async def end(self) -> None:
        await self.socket.send("Done")

    async def text(self) -> str:
        texts: dict[int, str] = {}
        async for message in self.socket:
            if message == "Done!":
                break
            result = json.loads(message)
            texts[result.get("segment", 0)] = result["text"].strip()
        return " ".join(filter(None, texts.values()))


PROTOCOLS = {"audiorec": Own, "vosk": Vosk, "sherpa-onnx": Sherpa}


async def client(url: str, kind: type[Own], rate: int, seed: int, until: float, turns: list[Turn]) -> None:
    draw, loop = random.Random(seed), asyncio.get_running_loop()
    await asyncio.sleep(draw.uniform(0, 3))
    while time.monotonic() < until:
        samples = utterance(draw)
        async with connect(url, compression=None, max_size=None, open_timeout=60) as socket:
            speaker = kind(socket, rate)
            await speaker.begin()
            words = loop.create_task(speaker.text())
            begin, size = time.monotonic(), round(PIECE * rate)
            for at in range(0, len(samples), size):
                end = min(at + size, len(samples))
                await asyncio.sleep(max(0.0, begin + end / rate - time.monotonic()))
                await speaker.send(samples[at:end])
            start = time.perf_counter()
            await speaker.end()
            text = await words
            turns.append(Turn(samples, text, time.perf_counter() - start))
        await asyncio.sleep(draw.uniform(0, 1))


async def watch(process: subprocess.Popen[str] | None, until: float, memory: list[tuple[float, float]]) -> None:
    """Seconds and megabytes of the server."""
    start = time.monotonic()
    while process is not None and time.monotonic() < until:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        memory.append((time.monotonic() - start, int(found[1]) / 1000 if found else 0.0))
        await asyncio.sleep(READ_SECONDS)


async def run(
    url: str, kind: type[Own], rate: int, options: Any, process: Any
) -> tuple[list[Turn], list[tuple[float, float]]]:
    until, turns, memory = time.monotonic() + 60 * options.minutes, [], []
    clients = (client(url, kind, rate, seed, until, turns) for seed in range(options.streams))
    await asyncio.gather(watch(process, until, memory), *clients)
    return turns, memory


def percentiles(values: list[float]) -> str:
    return " / ".join(f"{1000 * value:.0f}" for value in np.percentile(values, [50, 95, 99]))


def bounds(http: str) -> str:
    """p50 / p95 / p99 of the piece-to-words histogram of the first model: the bounds that hold them, ms."""
    lines = urlopen(http + "/metrics").read().decode().splitlines()
    pattern = re.compile(r'audiorec_piece_to_words_seconds_bucket\{le="([^"]+)".*\} (\S+)')
    counts = [(float(m[1]), float(m[2])) for m in map(pattern.match, lines) if m]
    total = counts[-1][1]
    return " / ".join(
        f"≤ {1000 * next(bound for bound, count in counts if count >= share * total):.0f}"
        for share in (0.5, 0.95, 0.99)
    )


def slope(memory: list[tuple[float, float]]) -> float:
    """MB an hour, of the second half."""
    half = memory[len(memory) // 2 :]
    return 3600 * statistics.linear_regression(*zip(*half, strict=True)).slope if len(half) > 2 else float("nan")


def different(turns: list[Turn], model: str, rate: int) -> Iterator[Turn]:
    recognizer = audiorec.load(model)
    for start in range(0, len(turns), 256):
        some = turns[start : start + 256]
        alone = recognizer.transcribe([(rate, turn.samples) for turn in some])
        yield from (turn for turn, result in zip(some, alone, strict=True) if turn.text != result.text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model, run or exported folder")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1, help="the server's")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="audiorec")
    parser.add_argument("--peer", type=int, help="port of a server that runs")
    options = parser.parse_args()
    kind, (_, rate) = PROTOCOLS[options.protocol], speech()
    if options.peer:
        turns, memory = asyncio.run(run(f"ws://127.0.0.1:{options.peer}", kind, rate, options, None))
    else:
        command = [sys.executable, "-c", "from audiorec.cli import main; main()", "serve", options.model, "--port", "0"]
        command += ["--sessions", str(2 * options.streams), "--threads", str(options.threads)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            found = re.search(r"http://\S+", server.stdout.readline() if server.stdout else "")
            if not found:
                raise SystemExit(f"the server did not start: {' '.join(command[3:])}")
            url = found[0].replace("http", "ws", 1) + kind.path
            if kind is Sherpa:
                url += f"?sample_rate={rate}"
            turns, memory = asyncio.run(run(url, kind, rate, options, server))
            print(f"piece to words, ms, p50 / p95 / p99: {bounds(found[0])}")
        finally:
            server.terminate()
            server.wait(30)
    print(
        f"{len(turns)} sessions, {sum(len(turn.samples) for turn in turns) / rate:.0f} s of audio, {options.streams} at once"
    )
    print(f"finalise, ms, p50 / p95 / p99: {percentiles([turn.seconds for turn in turns])}")
    fifths = [turns[i * len(turns) // 5 : (i + 1) * len(turns) // 5] for i in range(5)]
    p95 = [1000 * np.percentile([turn.seconds for turn in fifth], 95) for fifth in fifths if fifth]
    print(f"p95 by fifths of the run, ms: {', '.join(f'{ms:.0f}' for ms in p95)}")
    if memory:
        print(
            f"memory, MB: {memory[0][1]:.0f} at first, {memory[-1][1]:.0f} at last, slope {slope(memory):+.1f} an hour"
        )
    if not options.peer:
        wrong = list(different(turns, options.model, rate))
        print(f"words that differ: {len(wrong)} of {len(turns)} sessions")


if __name__ == "__main__":
    main()
