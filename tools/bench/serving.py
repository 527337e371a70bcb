"""How many live streams one machine serves: python tools/bench/serving.py [MODEL ...] [--kinds lstm,mamba] [--runtime onnx]

Real speech (the digits' recordings, looped) in real time: every stream sends a piece of 160 ms each 160 ms. The streams begin one
after another, evenly over a period of the model (or a piece, if that is longer), as independent callers do on average. One
`audiorec.Engine` of as many slots serves them; its peer is a Python thread a stream, each with a `Recognizer.stream()` of the
same model. Streams are doubled, then bisected, as long as p95 of the latency is at most 300 ms: from the time at which a piece
that completes a period of the model is due until its words are there. An engine's is p95 of its own, from `accept` on, plus p95
of how late `accept` returned. A trial that fails is repeated once, against hiccups of the machine.

Models are folders, and of the `--kinds` random ones of ten million parameters with a CTC head; with `--runtime onnx` they are
exported first, with `--int8` with weights of 8 bits. `--sherpa` adds the stock sherpa-onnx package on the same model in
float32: one thread feeds the pieces that are due and decodes all streams that are ready as one batch. The engine computes
with `--threads`, its peer with one a stream; the process keeps to as many cores, or to `--cores`. The words of every stream
of the trials that pass are compared with those of its samples alone. Streams where two scores lie within 1e-4, so that
rounding may decide, are counted as ties. *Busy* is the engine's seconds of computing a second. Torch's threads wait for one
another by spinning, which stalls them where other work runs on their cores: `OMP_WAIT_POLICY=passive` helps.

`--most 4 --seconds 2 --kinds lstm` shows quickly that it works.
"""

import argparse
import gc
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

import numpy as np
import torch
from audiorec_kernels import backend
from encoders import widest
from live import OUTPUTS, model

import audiorec
from audiorec.audio.read import read
from audiorec.audio.resample import Resampler
from audiorec.config import parse
from audiorec.encoders import ENCODERS
from audiorec.evaluation.decode import TIE
from audiorec.export import export_int8, export_onnx, export_sherpa
from audiorec.live import BaseRecognizer
from audiorec.models import ModelConfig, save_model
from audiorec.runtime.folder import is_export
from audiorec.text import train_tokenizer
from audiorec.transcript import Result

RECORDINGS = Path(__file__).resolve().parents[2] / "egs" / "digits" / "recordings"
CLIPS = 64  # different ones; more streams say the same again
GIVE_UP = 1.0  # seconds behind that end a trial


class Words(NamedTuple):
    """Streams whose words were compared with those alone."""

    compared: int = 0
    different: int = 0
    ties: int = 0


class Trial(NamedTuple):
    streams: int
    p95: float  # ms; infinite where it fell behind
    busy: float = float("nan")
    words: Words = Words()


@cache
def speech() -> tuple[np.ndarray, int]:
    """All recordings of the digits one after another (T,), and their rate in Hz."""
    recordings = [read(path) for path in sorted(RECORDINGS.glob("*.opus"))]
    return np.concatenate([samples for samples, _ in recordings]), recordings[0][1]


class Load:
    """What the streams of a recogniser send: clips (pieces, samples of a piece), each piece at its time."""

    def __init__(
        self,
        make: Callable[[int], BaseRecognizer],
        seconds: float,
        piece_ms: float,
        threads: int,
        sherpa: Path | None = None,
        wait_ms: float = 0.0,
    ):
        samples, self.rate = speech()
        self.sherpa = sherpa  # a folder of the same model for sherpa-onnx
        self.threads, self.wait_ms = threads, wait_ms  # of the engine
        self.recognizer, self.piece = make(threads), piece_ms / 1000
        self.single = self.recognizer if threads == 1 else make(1)
        recognizer = self.recognizer
        self.runner = recognizer.runner(1)
        self.spread = max(self.piece, self.runner.period / recognizer.sample_rate)  # seconds over which streams begin
        self.pieces = max(1, round(seconds / self.piece))
        size = round(self.piece * self.rate)
        starts = np.linspace(0, len(samples), CLIPS, endpoint=False).astype(int)
        self.clips = [np.resize(samples[start:], (self.pieces, size)) for start in starts]
        self.completes = self._completes(size)
        self._alone: dict[int, Result] = {}
        if not any(self.completes):
            raise SystemExit(f"--seconds {seconds:g}: the model's first words need more")

    def _completes(self, size: int) -> list[bool]:
        """Whether each piece completes a period of the model, so that its words are due."""
        resampler = Resampler(self.rate, self.recognizer.sample_rate)
        fed = np.cumsum([len(resampler.push(np.zeros(size))) for _ in range(self.pieces)])
        steps = np.maximum(0, (fed - self.runner.first_feed) // self.runner.period + 1)
        return list(np.diff(steps, prepend=0) > 0)

    def clip(self, stream: int) -> np.ndarray:
        return self.clips[stream % CLIPS]

    def due(self, piece: int, stream: int, streams: int) -> float:
        """Seconds from the start until the stream's piece is complete."""
        return (piece + 1) * self.piece + stream / streams * self.spread

    def compare(self, results: list[Result]) -> Words:
        """The streams' final results, in order, beside those of their samples alone."""
        different = ties = 0
        for stream, result in enumerate(results):
            number = stream % CLIPS
            if number not in self._alone:
                self._alone[number] = self.recognizer.transcribe((self.rate, self.clips[number].ravel()))
            if result.text != self._alone[number].text:
                tie = min(result.margin, self._alone[number].margin) < TIE
                ties, different = ties + tie, different + (not tie)
        return Words(len(results), different, ties)

    @property
    def texts(self) -> int:
        """Different texts among those compared with."""
        return len({result.text for result in self._alone.values() if result.text})

    def calls(self, streams: int) -> list[tuple[float, int, int]]:
        """When each piece of each stream is due, the piece and the stream, in order of time."""
        return sorted(
            (self.due(p, stream, streams), p, stream) for p in range(self.pieces) for stream in range(streams)
        )


def sleep_until(when: float) -> None:
    if (left := when - time.perf_counter()) > 0:
        time.sleep(left)


def engine(load: Load, streams: int, limit: float) -> Trial:
    torch.set_num_threads(load.threads)  # threads that begin later, as the engine's, have what is set here
    with audiorec.Engine(load.recognizer, streams, queue_seconds=60, wait_ms=load.wait_ms) as served:
        sessions = [served.session(load.rate) for _ in range(streams)]
        late: list[float] = []
        calls = load.calls(streams)
        begin = time.perf_counter()
        for due, piece, stream in calls:
            sleep_until(begin + due)
            sessions[stream].accept(load.clip(stream)[piece])
            late.append(time.perf_counter() - begin - due)
            if late[-1] > GIVE_UP:
                break
        time.sleep(2 * limit / 1000)  # meanwhile the last words come, or are too late
        stats = served.stats()
        fed = len(late) == len(calls)
        p95 = stats.latency_ms[1] + 1000 * float(np.percentile(late, 95)) if fed else float("inf")
        words = Words()
        if p95 <= limit:
            words = load.compare([session.finish() for session in sessions])
        else:
            for session in sessions:
                session.cancel()
        return Trial(streams, p95, stats.real_time_factor * streams, words)


def thread_a_stream(load: Load, streams: int, limit: float) -> Trial:
    torch.set_num_threads(1)
    lives = [load.single.stream(load.rate) for _ in range(streams)]
    latencies: list[float] = []
    ready, behind = Event(), Event()
    begin = 0.0

    def client(number: int) -> None:
        ready.wait()
        for piece in range(load.pieces):
            due = begin + load.due(piece, number, streams)
            sleep_until(due)
            lives[number].accept(load.clip(number)[piece])
            latency = time.perf_counter() - due
            if load.completes[piece]:
                latencies.append(latency)
            if latency > GIVE_UP:
                behind.set()
            if behind.is_set():
                return

    threads = [Thread(target=client, args=(number,)) for number in range(streams)]
    for thread in threads:
        thread.start()
    begin = time.perf_counter()
    ready.set()
    for thread in threads:
        thread.join()
    p95 = float("inf") if behind.is_set() else 1000 * float(np.percentile(latencies, 95))
    return Trial(streams, p95, words=load.compare([live.finish() for live in lives]) if p95 <= limit else Words())


def sherpa_onnx(load: Load, streams: int, limit: float) -> Trial:
    import stock

    assert load.sherpa is not None
    served = stock.recognizer(load.sherpa, "greedy_search", load.threads)
    lives = [served.create_stream() for _ in range(streams)]
    calls, latencies, at, busy = load.calls(streams), list[float](), 0, 0.0
    begin = time.perf_counter()
    while at < len(calls):
        sleep_until(begin + calls[at][0])
        start, fed = time.perf_counter(), dict[int, float]()
        while at < len(calls) and calls[at][0] <= time.perf_counter() - begin:
            due, piece, stream = calls[at]
            lives[stream].accept_waveform(load.rate, load.clip(stream)[piece])
            fed.setdefault(stream, due)
            at += 1
        while ready := [stream for stream in range(streams) if served.is_ready(lives[stream])]:
            served.decode_streams([lives[stream] for stream in ready])
            now = time.perf_counter() - begin
            latencies += [now - fed.pop(stream) for stream in ready if stream in fed]
        busy += time.perf_counter() - start
        if latencies and latencies[-1] > GIVE_UP:
            return Trial(streams, float("inf"))
    return Trial(streams, 1000 * float(np.percentile(latencies, 95)), busy / (time.perf_counter() - begin))


def most(name: str, run: Callable[[Load, int, float], Trial], load: Load, limit: float, cap: int) -> list[Trial]:
    """The trials that pass, fewest streams first: doubled as long as they do, then bisected to a twentieth."""
    passed: list[Trial] = []
    low, high, streams = 0, cap + 1, 1
    while low < high - max(1, low // 20):
        for _ in range(2):
            gc.collect()
            trial = run(load, streams, limit)
            print(f"{name}, {run.__name__}: {streams} streams, p95 {trial.p95:.0f} ms", file=sys.stderr, flush=True)
            if trial.p95 <= limit:
                break
        if trial.p95 <= limit:
            passed.append(trial)
            low = streams
        else:
            high = streams
        streams = min(2 * low, cap) if high > cap else (low + high) // 2
    return sorted(passed) or [Trial(0, float("nan"))]


def measure(name: str, load: Load, limit: float, cap: int) -> tuple[str, Words]:
    """A line of the table, and all the words compared for it."""
    thread_a_stream(load, 1, limit)  # warm-up
    served, alone = (most(name, run, load, limit, cap) for run in (engine, thread_a_stream))
    stock = most(name, sherpa_onnx, load, limit, cap)[-1] if load.sherpa else None
    words = Words(*map(sum, zip(*(trial.words for trial in [*served, *alone]), strict=True)))
    if load.texts < 2:
        print(f"{name}: all clips have one text, so the words compared tell little", file=sys.stderr)
    best, peer = served[-1], alone[-1]
    ratio = f"{best.streams / peer.streams:.1f}" if peer.streams else "–"
    cells = (name, best.streams, f"{best.p95:.0f}", f"{best.busy:.2f}")
    cells += (peer.streams, f"{peer.p95:.0f}", ratio)
    cells += (stock.streams, f"{stock.p95:.0f}") if stock else ("", "")
    cells += (words.different,)
    return f"| {' | '.join(map(str, cells))} |", words


def random_model(kind: str, folder: Path) -> Path:
    """Random weights, scaled so that what is heard decides what is said: else all streams would say the same nothing."""
    width, asr = widest(lambda width: model(kind, width))
    words = " ".join(f"w{number}" for number in range(OUTPUTS - 2))
    samples, rate = speech()
    heard = torch.from_numpy(Resampler(rate, asr.sample_rate).push(samples[: 10 * rate]))[None]
    with torch.no_grad():
        x, _ = asr.features(heard[..., None])
        asr.features.set_statistics(x.mean((0, 1)), x.std((0, 1)))
        linear = asr.head().linear
        linear.weight.mul_(20)
        linear.bias.zero_()
        linear.bias.sub_(linear(asr(heard)[0]).mean((0, 1)))
    config = {"encoder": {"kind": kind, "dim": width}, "heads": "ctc", "tokenizer": {"kind": "word"}}
    save_model(folder, asr, parse(ModelConfig, config), train_tokenizer("word", [words]), "")
    return folder


def recognizer(path: Path, runtime: str, threads: int) -> BaseRecognizer:
    return audiorec.load(path, runtime=runtime, threads=threads if runtime == "onnx" else None)


def machine(cores: int, threads: int) -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return (
        f"{cpu}, {cores} of {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__} with {threads} "
        f"threads, "
        f"{backend()['cpu']} kernels{load}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="model or run directories")
    parser.add_argument(
        "--kinds", default="lstm,mamba,conformer", help="encoders of random models, by commas; '' for none"
    )
    parser.add_argument("--runtime", choices=("torch", "onnx"), default="torch")
    parser.add_argument("--int8", action="store_true", help="weights of 8 bits, with --runtime onnx")
    parser.add_argument("--sherpa", action="store_true", help="beside the stock sherpa-onnx package")
    parser.add_argument("--folders", type=Path, help="where models and exports are kept, and taken where they are")
    parser.add_argument("--threads", type=int, default=1, help="that the engine computes with")
    parser.add_argument("--cores", type=int, help="that the process keeps to; as many as --threads unless given")
    parser.add_argument("--seconds", type=float, default=8.0, help="of audio a stream, so of each trial")
    parser.add_argument("--piece", type=float, default=160.0, help="ms that a stream sends at once")
    parser.add_argument("--wait", type=float, default=0.0, help="ms that the engine's batches may wait for others")
    parser.add_argument("--limit", type=float, default=300.0, help="ms that p95 may be")
    parser.add_argument("--most", type=int, default=4096, help="streams to try at most")
    options = parser.parse_args()
    if options.int8 and options.runtime != "onnx":
        parser.error("--int8 needs --runtime onnx")
    options.cores = options.cores or options.threads
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.cores :])
    given = f"pieces of {options.piece:g} ms, p95 at most {options.limit:g} ms, {options.seconds:g} s a trial"
    print(f"{machine(options.cores, options.threads)}; {given}\n")
    columns = "model", "streams, engine", "p95, ms", "busy", "streams, a thread each", "p95, ms", "ratio"
    columns += "streams, sherpa-onnx", "p95, ms"
    print(f"| {' | '.join([*columns, 'words that differ'])} |\n|---|{'---:|' * len(columns)}", flush=True)
    compared = Words()
    with tempfile.TemporaryDirectory() as folder:
        for name in [*filter(None, options.kinds.split(",")), *options.models]:
            kept = options.folders or Path(folder)
            path = Path(name)
            if name in ENCODERS.kinds and not (path := kept / name).exists():
                random_model(name, path)
            stock = kept / "sherpa" / path.name if options.sherpa else None
            if stock and not stock.exists():
                export_sherpa(path, stock)
            if options.runtime == "onnx" and not is_export(path):
                path, source = kept / ("int8" if options.int8 else "float32") / path.name, path
                if not path.exists():
                    (export_int8 if options.int8 else export_onnx)(source, path)
            make = partial(recognizer, path, options.runtime)
            load = Load(make, options.seconds, options.piece, options.threads, stock, options.wait)
            line, words = measure(name, load, options.limit, options.most)
            print(line, flush=True)
            compared = Words(*map(sum, zip(compared, words, strict=True)))
    print(f"\nwords that differ: {compared.different} (streams compared: {compared.compared}; ties: {compared.ties})")


if __name__ == "__main__":
    main()
