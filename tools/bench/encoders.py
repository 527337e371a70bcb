"""How fast the encoders are on one thread of this CPU: python tools/bench/encoders.py [--kinds lstm,mamba] [--quick]

Every encoder has the width that brings it nearest to ten million parameters, its other options as they are by default,
and random weights; beside them runs an ``nn.LSTM`` of four layers of as many parameters, on as many frames a second.
Times are milliseconds of the processor per second of audio, which other work on the machine does not add to but for what
it takes of caches: medians of interleaved rounds. Compare ratios, not milliseconds.

*offline* is one utterance of ten seconds. *live* is a stream fed pieces of 160 ms, or of a period where that is longer,
when it has run for a minute, ten minutes and an hour; the streams come there in steps of half a minute.

``--device cuda`` runs them there; milliseconds are then those that pass.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from audiorec.encoders import ENCODERS, build
from audiorec.models import parameter_count
from audiorec.streaming import State, StreamingModule

BINS, FRAMES_A_SECOND = 80, 100
PARAMETERS = 10_000_000
OFFLINE_SECONDS, STEP_SECONDS, PIECE_SECONDS = 10, 30, 0.16
MARKS = {"1 min": 60, "10 min": 600, "1 h": 3600}
QUICK_MARKS = {"10 s": 10, "1 min": 60}


def widest(make: Callable[[int], nn.Module], parameters: int = PARAMETERS) -> tuple[int, nn.Module]:
    """The width, a multiple of 8, whose module has the number of parameters nearest to the one asked for."""
    low, high = 1, 1024  # in eights; the meta device counts without filling
    with torch.device("meta"):
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if parameter_count(make(8 * middle)) >= parameters else (middle + 1, high)
        sizes = {8 * n: parameter_count(make(8 * n)) for n in (low - 1, low) if n}
    width = min(sizes, key=lambda width: abs(sizes[width] - parameters))
    torch.manual_seed(0)
    return width, make(width).eval()


class Peer:
    """``nn.LSTM`` on random frames at the encoders' frame rate."""

    name = "nn.LSTM"
    stride = 4

    def __init__(self):
        self.width, self.module = widest(lambda width: nn.LSTM(width, width, num_layers=4, batch_first=True))
        self.piece = round(PIECE_SECONDS * FRAMES_A_SECOND / self.stride) * self.stride
        self.marks: dict[str, object] = {}

    def draw(self, frames: int) -> torch.Tensor:
        return torch.randn(1, frames // self.stride, self.width)

    def offline(self, x: torch.Tensor) -> None:
        self.module(x)

    def live(self, x: torch.Tensor, state: object) -> object:
        return self.module(x, state)[1]

    def begin(self) -> object:
        return None


class Encoder:
    def __init__(self, kind: str):
        self.name = kind
        self.width, self.module = widest(lambda width: build({"kind": kind, "dim": width}, BINS))
        module: StreamingModule = self.module
        self.piece = -(-round(PIECE_SECONDS * FRAMES_A_SECOND) // module.period) * module.period
        self.marks: dict[str, State] = {}

    def draw(self, frames: int) -> torch.Tensor:
        return torch.randn(1, frames, BINS)

    def offline(self, x: torch.Tensor) -> None:
        self.module(x)

    def live(self, x: torch.Tensor, state: State) -> State:
        return self.module.step(x, None, state)[2]

    def begin(self) -> State:
        return self.module.initial_state(1)


def walk(one: "Encoder | Peer", marks: dict[str, int]) -> None:
    """Run a stream through and keep its state at every mark."""
    state, at = one.begin(), 0
    step = STEP_SECONDS * FRAMES_A_SECOND // one.piece * one.piece
    for name, seconds in marks.items():
        while at < seconds * FRAMES_A_SECOND:
            frames = min(step, -(-(seconds * FRAMES_A_SECOND - at) // one.piece) * one.piece)
            state, at = one.live(one.draw(frames), state), at + frames
        one.marks[name] = state


def milliseconds(call: Callable[[], object], seconds: float) -> float:
    """Of this process, per second of audio; on a GPU those that pass."""
    if torch.get_default_device().type == "cuda":
        torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        torch.cuda.synchronize()
        return 1000 * (time.perf_counter() - began) / seconds
    began = time.process_time()
    call()
    return 1000 * (time.process_time() - began) / seconds


def rounds(ones: list["Encoder | Peer"], marks: dict[str, int], count: int, steps: int) -> dict[tuple[str, str], float]:
    """(name, column) → median milliseconds per second of audio. In a round everyone has its turn at everything."""
    times: dict[tuple[str, str], list[float]] = {}
    for one in ones:  # warm
        one.offline(one.draw(FRAMES_A_SECOND))
    for _ in range(count):
        for one in ones:
            whole, piece = one.draw(OFFLINE_SECONDS * FRAMES_A_SECOND), one.draw(one.piece)
            spent = milliseconds(lambda: one.offline(whole), OFFLINE_SECONDS)  # noqa: B023
            times.setdefault((one.name, "offline"), []).append(spent)
            for _ in range(steps):
                for mark in marks:
                    state = one.marks[mark]
                    spent = milliseconds(lambda: one.live(piece, state), one.piece / FRAMES_A_SECOND)  # noqa: B023
                    times.setdefault((one.name, mark), []).append(spent)
    return {key: statistics.median(spent) for key, spent in times.items()}


def table(ones: list["Encoder | Peer"], marks: dict[str, int], medians: dict[tuple[str, str], float]) -> None:
    peer, first, last = ones[0], *[list(marks)[i] for i in (0, -1)]
    head = ["encoder", "dim", "parameters", "offline", "to nn.LSTM", "piece, ms"]
    head += [f"live, {mark}" for mark in marks] + ["to nn.LSTM", f"{last} to {first}"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for one in ones:
        of = {column: medians[one.name, column] for column in ("offline", *marks)}
        cells = [one.name, str(one.width), f"{parameter_count(one.module) / 1e6:.2f} M", f"{of['offline']:.2f}"]
        cells += [f"{of['offline'] / medians[peer.name, 'offline']:.2f}", f"{1000 * one.piece / FRAMES_A_SECOND:g}"]
        cells += [f"{of[mark]:.2f}" for mark in marks]
        cells += [f"{of[last] / medians[peer.name, last]:.2f}", f"{of[last] / of[first]:.2f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--kinds", default=",".join(sorted(ENCODERS.kinds)), help="separated by commas; all unless given"
    )
    parser.add_argument("--quick", action="store_true", help="marks at 10 s and 1 min, fewer rounds")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_device(options.device)
    marks = QUICK_MARKS if options.quick else MARKS
    with torch.inference_mode():
        ones = [Peer(), *map(Encoder, options.kinds.split(","))]
        for one in ones:
            walk(one, marks)
        table(ones, marks, rounds(ones, marks, 3 if options.quick else 7, 3 if options.quick else 7))


if __name__ == "__main__":
    main()
