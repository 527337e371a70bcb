"""How far an encoder in float32 drifts from itself in float64 over a long stream: python tools/bench/drift.py [FRAMES]

The encoders' default configs with fresh weights, fed noise in pieces of 250 encoder frames; FRAMES are encoder frames.
The error is max|a − b| / max|a| over the piece that ends there, of the output and of each sort of state.
"""

import copy
import sys

import torch

from audiorec.encoders import build
from audiorec.streaming import State, leaves

ENCODERS = [{"kind": "mamba"}, {"kind": "lmu"}, {"kind": "lmu", "arrangement": "lmuformer"}]
BINS = 80
PIECE = 250


def error(exact: torch.Tensor, given: torch.Tensor) -> float:
    return float((given - exact).abs().max() / exact.abs().max())


def state_error(exact: State, given: State, name: str) -> float:
    """The largest over the layers' leaves of that name."""
    pairs = zip(leaves(exact), leaves(given), strict=True)
    return max(error(a, b) for (leaf, a), (_, b) in pairs if leaf.endswith(name))


def measure(config: dict, frames: int) -> None:
    torch.manual_seed(0)
    single = build(config, BINS).eval()
    double = copy.deepcopy(single).double()
    name = config.get("arrangement", config["kind"])
    memory = "ssm" if config["kind"] == "mamba" else "memory"
    states = single.initial_state(1, ragged=True), double.initial_state(1, ragged=True)
    size = PIECE * single.stride
    lengths = torch.tensor([size])
    for end in range(PIECE, frames + 1, PIECE):
        x = torch.randn(1, size, BINS)
        y, _, s = single.step(x, lengths, states[0])
        y_exact, _, s_exact = double.step(x.double(), lengths, states[1])
        states = s, s_exact
        if end in (PIECE, frames // 100, frames // 10, frames):
            print(f"| {name} | {end} | {error(y_exact, y):.1e} | {state_error(s_exact, s, memory):.1e} |", flush=True)


if __name__ == "__main__":
    print("| encoder | frames | output | memory |\n|---|---|---|---|")
    with torch.no_grad():
        for config in ENCODERS:
            measure(config, int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
