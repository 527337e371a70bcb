"""What the laws of ``test_laws.py`` run on. A new kernel is one entry of KERNELS."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from audiorec_kernels.conv import causal_conv1d
from audiorec_kernels.lti import lti_scan
from audiorec_kernels.rnn import gru, lstm
from audiorec_kernels.scan import linear_scan, log_linear_scan
from audiorec_kernels.ssm import selective_scan
from torch import Tensor

from ..device import ON_CUDA

# Triton's kernels are the ones under test on a GPU (`make gpu`) and where its interpreter runs them (test_triton.py).
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
TRITON = INTERPRETED or ON_CUDA
SERVED = ("triton",) if TRITON else ("native",)
ON_A_GPU = ("triton",) if TRITON else ()
WITHOUT_NATIVE = ("triton",) if TRITON else ("reference",)
if INTERPRETED:
    # Small tiles: an interpreted scan takes time by the element, and a short sequence then fills more than one tile.
    import audiorec_kernels.conv.triton as conv
    import audiorec_kernels.scan.triton as scan
    import audiorec_kernels.ssm.triton as selection

    for tile in (scan._TILE, scan._HALF, selection._FORWARD, selection._BACKWARD):
        tile.update(CHUNKS=4, STEPS=2, BLOCK=8)
    selection._FRAMES = 8
    for tile in (conv._TILE, conv._BACKWARD_TILE):
        tile.update(FRAMES=8, BLOCK=8)


def _wide(dim: int) -> int:
    """Wider than any tile; under the interpreter, whose tiles are small, by no more than it takes."""
    return 19 if INTERPRETED else dim


@dataclass
class Kernel:
    """``function(**inputs, initial_state=, lengths=, reset=)`` → y, state.

    ``draw(rows, time)`` gives float32 inputs by name, ``initial_state`` among them. Those in ``timed`` are (B, T, …).
    With ``narrow_products`` bfloat16 inputs are multiplied as they are: only their sums are float32.
    """

    function: Callable
    draw: Callable[[int, int], dict[str, Tensor]]
    timed: tuple[str, ...]
    backends: tuple[str, ...] = SERVED
    narrow_products: bool = False


def _gates(rows: int, time: int, dim: int = 5) -> dict[str, Tensor]:
    a = torch.rand(rows, time, dim) * 1.1 - 0.1
    return {"a": a, "b": torch.randn(rows, time, dim), "initial_state": torch.randn(rows, dim)}


def _logarithms(rows: int, time: int, dim: int = 5) -> dict[str, Tensor]:
    log_a, log_b = -torch.rand(rows, time, dim), torch.randn(rows, time, dim)
    return {"log_a": log_a, "log_b": log_b, "initial_state": torch.rand(rows, dim) + 0.1}


def _frames(rows: int, time: int, taps: int = 4, dim: int = 5) -> dict[str, Tensor]:
    weights = {"weight": torch.randn(dim, taps), "bias": torch.randn(dim)}
    return {"x": torch.randn(rows, time, dim), **weights, "initial_state": torch.randn(rows, taps - 1, dim)}


def _selected(rows: int, time: int, dim: int = 5, states: int = 3, without: tuple[str, ...] = ()) -> dict[str, Tensor]:
    timed = {"u": dim, "dt": dim, "B": states, "C": states, "z": dim}
    drawn = {name: torch.randn(rows, time, size) for name, size in timed.items()}
    drawn |= {"A": -torch.rand(dim, states) * states, "D": torch.randn(dim), "dt_bias": torch.randn(dim)}
    drawn |= {"initial_state": torch.randn(rows, dim, states)}
    return {name: x for name, x in drawn.items() if name not in without}


def _memories(rows: int, time: int, read_out: bool, channels: int = 5, order: int = 5) -> dict[str, Tensor]:
    drawn = {"u": torch.randn(rows, time, channels), "A": torch.randn(order, order) * 0.3, "B": torch.randn(order)}
    drawn |= {"C": torch.randn(channels, 2, order)} if read_out else {}
    return drawn | {"initial_state": torch.randn(rows, channels, order)}


def _steps_as_they_stand(dt: Tensor, **rest) -> tuple[Tensor, Tensor]:
    return selective_scan(dt=dt.abs(), dt_softplus=False, **rest)


def _by_head(rows: int, time: int, gates: int, heads: int = 2, dim: int = 5) -> dict[str, Tensor]:
    R = torch.randn(heads, dim, gates, dim) / dim**0.5
    return {"wx": torch.randn(rows, time, gates, heads, dim), "R": R, "b": torch.randn(gates, heads, dim)}


def _lstm_gates(rows: int, time: int, **sizes: int) -> dict[str, Tensor]:
    drawn = _by_head(rows, time, 4, **sizes)
    return {**drawn, "initial_state": torch.randn(rows, 2, *drawn["wx"].shape[3:])}


def _gru_gates(rows: int, time: int, **sizes: int) -> dict[str, Tensor]:
    drawn = _by_head(rows, time, 3, **sizes)
    head = drawn["wx"].shape[3:]
    return {**drawn, "b_n": torch.randn(head), "initial_state": torch.randn(rows, *head)}


def _lstm(initial_state: Tensor | None = None, **inputs) -> tuple[Tensor, Tensor]:
    """With both states in one tensor (B, 2, H, D)."""
    y, state = lstm(**inputs, initial_state=None if initial_state is None else initial_state.unbind(1))
    return y, torch.stack(state, 1)


KERNELS = {
    "linear scan": Kernel(linear_scan, _gates, ("a", "b")),
    "linear scan, wide": Kernel(linear_scan, partial(_gates, dim=_wide(83)), ("a", "b")),
    "log linear scan": Kernel(log_linear_scan, _logarithms, ("log_a", "log_b")),
    "log linear scan, wide": Kernel(log_linear_scan, partial(_logarithms, dim=_wide(277)), ("log_a", "log_b")),
    "convolution": Kernel(causal_conv1d, _frames, ("x",)),
    "convolution and SiLU": Kernel(partial(causal_conv1d, activation="silu"), partial(_frames, dim=_wide(277)), ("x",)),
    "convolution, 9 taps": Kernel(causal_conv1d, partial(_frames, taps=9), ("x",)),
    "convolution, 1 tap": Kernel(causal_conv1d, partial(_frames, taps=1), ("x",)),
    "selective scan": Kernel(selective_scan, _selected, ("u", "dt", "B", "C", "z")),
    "selective scan, wide": Kernel(
        selective_scan,
        partial(_selected, dim=_wide(147), states=4 if INTERPRETED else 16),
        ("u", "dt", "B", "C", "z"),
    ),
    "selective scan, bare": Kernel(
        _steps_as_they_stand, partial(_selected, dim=17, states=1, without=("D", "z", "dt_bias")), ("u", "dt", "B", "C")
    ),
    "memory": Kernel(lti_scan, partial(_memories, read_out=False), ("u",), WITHOUT_NATIVE),
    "memory, read out": Kernel(lti_scan, partial(_memories, read_out=True), ("u",), WITHOUT_NATIVE),
    "LSTM": Kernel(_lstm, _lstm_gates, ("wx",), narrow_products=True),
    "LSTM, frame by frame": Kernel(_lstm, partial(_lstm_gates, heads=1, dim=67), ("wx",), narrow_products=True),
    "GRU": Kernel(gru, _gru_gates, ("wx",), ON_A_GPU, narrow_products=True),
    "GRU, frame by frame": Kernel(gru, partial(_gru_gates, heads=1, dim=67), ("wx",), ON_A_GPU, narrow_products=True),
}
