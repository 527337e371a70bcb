"""What ``tools/bench/kernels.py`` times: each kernel beside what one would write without it, on the same tensors."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from audiorec_kernels import backend
from audiorec_kernels.conv import causal_conv1d
from audiorec_kernels.lattice import arc_lattice, transducer_lattice
from audiorec_kernels.lti import lti_scan, lti_scan_step
from audiorec_kernels.product import linear
from audiorec_kernels.rnn import dense_gru, dense_lstm, gru, lstm
from audiorec_kernels.scan import linear_scan, linear_scan_step, log_linear_scan
from audiorec_kernels.ssm import selective_scan, selective_scan_step
from torch import Tensor


@dataclass
class Comparison:
    """``ours`` beside ``peer``, both of the same tensors; ``what`` says which and of what size."""

    what: str
    peer_name: str
    inputs: Callable[[], tuple[Tensor, ...]]
    ours: Callable[..., Tensor]
    peer: Callable[..., Tensor]
    backward: bool = True
    memory: bool = False


def in_plain_torch(function: Callable) -> Callable:
    """The unbound loop: what the kernel's reference does."""

    def call(*inputs: Tensor) -> Tensor:
        with backend("reference"):
            return function(*inputs)

    return call


def first(function: Callable, **options: object) -> Callable[..., Tensor]:
    return lambda *inputs: function(*inputs, **options)[0]


def conv1d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv1d(F.pad(x.transpose(1, 2), (3, 0)), weight[:, None], bias, groups=len(weight)).transpose(1, 2)


def fft_convolution(u: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The memory as a convolution with its impulse response, by FFT, then the read-out."""
    time, powers = u.shape[1], A[None]
    while len(powers) < time:
        powers = torch.cat([powers, powers @ powers[-1]])
    impulse = torch.cat([B[None], powers[: time - 1] @ B])
    m = torch.fft.irfft(
        torch.fft.rfft(u, 2 * time, dim=1)[..., None] * torch.fft.rfft(impulse, 2 * time, dim=0)[:, None], dim=1
    )
    return torch.einsum("btkd,kqd->btkq", m[:, :time], C)


SHAPE = 8, 1000, 512
FRAME = 1, 512


def _gates() -> tuple[Tensor, ...]:
    return torch.rand(SHAPE), torch.randn(SHAPE)


def _frame() -> tuple[Tensor, ...]:
    return tuple(torch.rand(3, *FRAME))


def _selected(*over: int, dim: int = 512, states: int = 16) -> tuple[Tensor, ...]:
    """u, dt, A, B, C, D, z and dt_bias as a Mamba block begins: A is −1 … −N, steps lie about softplus(−3)."""
    u, dt, z = torch.randn(3, *over, dim)
    B, C = torch.randn(2, *over, states)
    return u, dt, -torch.arange(1.0, states + 1).repeat(dim, 1), B, C, torch.randn(dim), z, torch.randn(dim) - 3


def _call_of_one(u, dt, A, B, C, D, z, dt_bias, h) -> tuple[Tensor, Tensor]:
    u, dt, B, C, z = (x[:, None] for x in (u, dt, B, C, z))
    return selective_scan(u, dt, A, B, C, D, z, dt_bias, initial_state=h)


def _layers(rows: int) -> Callable[[], tuple[Tensor, ...]]:
    """Few rows, and the weights of ten layers of 528 → 2112: 45 MB, more than the caches of most machines hold."""
    return lambda: (torch.randn(rows, 528), torch.randn(10, 2112, 528) / 23, torch.randn(2112))


def in_turn(layer: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, weights, bias: [layer(x, weight, bias) for weight in weights.unbind(0)][-1]


def _memory(*over: int, channels: int, order: int, outputs: int = 0) -> tuple[Tensor, ...]:
    A = torch.linalg.qr(torch.randn(order, order))[0] * 0.99  # as slow to forget as a memory should be
    read_out = (torch.randn(channels, outputs, order),) if outputs else ()
    return torch.randn(*over, channels), A, torch.randn(order), *read_out


RNN = 8, 200, 4, 64  # B, T, heads and channels of one


def _recurrent(gates: int, sizes: tuple[int, int, int, int] = RNN) -> Callable[[], tuple[Tensor, ...]]:
    """x, its weights and bias, R (H, D, gates, D), and a dense recurrent matrix as wide as the heads together."""

    def draw() -> tuple[Tensor, ...]:
        rows, time, heads, dim = sizes
        cells = heads * dim
        x, weight, bias = torch.randn(rows, time, cells), torch.randn(gates * cells, cells), torch.randn(gates * cells)
        R, whole = torch.randn(heads, dim, gates, dim), torch.randn(gates * cells, cells)
        return x, weight / cells**0.5, bias, R / dim**0.5, whole / cells**0.5

    return draw


def in_heads(function: Callable) -> Callable[..., Tensor]:
    """``lstm`` or ``gru`` as an encoder's layer calls it, its input's projection included."""

    def call(x: Tensor, weight: Tensor, bias: Tensor, R: Tensor, whole: Tensor) -> Tensor:
        heads, dim, gates, _ = R.shape
        wx, bias = (given.unflatten(-1, (gates, heads, dim)) for given in (F.linear(x, weight), bias))
        rest = [torch.zeros_like(bias[0])] if function is gru else []
        return function(wx, R, bias, *rest)[0].flatten(2)

    return call


def whole(function: Callable) -> Callable[..., Tensor]:
    """``dense_lstm`` or ``dense_gru``, torch's own layer, as wide as the heads together."""
    return lambda x, weight, bias, R, whole: function(x, weight, whole, bias, torch.zeros_like(bias))[0]


LATTICE = 8, 60, 250  # B, S, T: 8 * 61 * 250 nodes
TDT = [*((1, d) for d in range(5)), *((0, d) for d in range(1, 5))]


def _arcs() -> tuple[Tensor, ...]:
    B, S, T = LATTICE
    return torch.randn(B, S, T + 1) - 3, torch.randn(B, S + 1, T) - 1


def _tdt_arcs() -> tuple[Tensor]:
    B, S, T = LATTICE
    return (torch.randn(len(TDT), B, S + 1, T + 1) - 3,)


def tdt(arcs: Tensor) -> Tensor:
    return arc_lattice(arcs, TDT)


COMPARISONS = {
    "scan": [
        Comparison(
            "linear_scan [8, 1000, 512]", "torch loop", _gates, first(linear_scan), in_plain_torch(first(linear_scan))
        ),
        Comparison(
            "log_linear_scan [8, 1000, 512]",
            "torch loop",
            lambda: (-torch.rand(SHAPE), torch.randn(SHAPE)),
            first(log_linear_scan),
            in_plain_torch(first(log_linear_scan)),
        ),
        Comparison(
            "linear_scan_step [1, 512]", "a * h + b", _frame, linear_scan_step, lambda a, b, h: a * h + b, False
        ),
        Comparison(
            "linear_scan_step [1, 512], given out",
            "a * h + b",
            lambda: (*_frame(), torch.empty(FRAME)),
            lambda a, b, h, out: linear_scan_step(a, b, h, out=out),
            lambda a, b, h, out: a * h + b,
            False,
        ),
        Comparison(
            "linear_scan_step [1, 512]",
            "a call with T = 1",
            _frame,
            linear_scan_step,
            lambda a, b, h: linear_scan(a[:, None], b[:, None], h)[1],
            False,
        ),
    ],
    "conv": [
        Comparison(
            "causal_conv1d [8, 1000, 512], 4 taps",
            name,
            lambda: (torch.randn(SHAPE), torch.randn(512, 4), torch.randn(512)),
            first(causal_conv1d),
            peer,
        )
        for name, peer in {"torch shifted sum": in_plain_torch(first(causal_conv1d)), "F.conv1d": conv1d}.items()
    ],
    "selective_scan": [
        Comparison(
            "selective_scan [8, 500, 512, 16]",
            "torch loop",
            lambda: _selected(8, 500),
            first(selective_scan),
            in_plain_torch(first(selective_scan)),
            memory=True,
        ),
        Comparison(
            "selective_scan_step [1, 512, 16]",
            "a call with T = 1",
            lambda: (*_selected(1), torch.randn(1, 512, 16)),
            lambda *inputs: selective_scan_step(*inputs[:-1], initial_state=inputs[-1])[0],
            lambda *inputs: _call_of_one(*inputs)[0],
            False,
        ),
    ],
    "lti": [
        Comparison(
            "lti_scan [8, 500, 64], order 128, read out to 4",
            "FFT",
            lambda: _memory(8, 500, channels=64, order=128, outputs=4),
            first(lti_scan),
            fft_convolution,
        ),
        Comparison(
            "lti_scan_step [1, 48], order 16",
            "a call with T = 1",
            lambda: (*_memory(1, channels=48, order=16), torch.randn(1, 48, 16)),
            lti_scan_step,
            lambda u, A, B, m: lti_scan(u[:, None], A, B, initial_state=m)[1],
            False,
        ),
    ],
    "product": [
        Comparison(
            f"ten of linear [{rows}, 528] to 2112", "F.linear", _layers(rows), in_turn(linear), in_turn(F.linear), False
        )
        for rows in (1, 4, 8)
    ],
    "rnn": [
        Comparison(f"{name} {list(RNN)}, in heads", peer_name, _recurrent(gates), in_heads(function), peer)
        for name, gates, function, dense in (("lstm", 4, lstm, dense_lstm), ("gru", 3, gru, dense_gru))
        for peer_name, peer in (("torch loop", in_plain_torch(in_heads(function))), (dense.__name__, whole(dense)))
    ],
    "lattice": [  # the occupancies come with the score: there is no other backward pass
        Comparison(
            "transducer_lattice B 8, S 60, T 250",
            "torch loop",
            _arcs,
            transducer_lattice,
            in_plain_torch(transducer_lattice),
            False,
        ),
        Comparison("arc_lattice of a TDT, B 8, S 60, T 250", "torch loop", _tdt_arcs, tdt, in_plain_torch(tdt)),
    ],
}
