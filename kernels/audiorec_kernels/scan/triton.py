"""The linear recurrences on an NVIDIA GPU: a program owns a block of one row's channels and walks through its frames."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.launch import launch
from audiorec_kernels.operator import Operator

# A tile is CHUNKS · STEPS frames of BLOCK channels; two warps hold 32 values of each tensor in each thread.
_TILE = {"CHUNKS": 16, "STEPS": 4, "BLOCK": 32, "num_warps": 2}
# Half of that for what holds more tensors at once: the backwards, and logarithms.
_HALF = {**_TILE, "num_warps": 4}
# log 0: finite, so that the difference of two of them is 0.
_LOG_ZERO = tl.constexpr(-1e30)


def linear_scan(
    a: Tensor, b: Tensor, initial_state: Tensor | None, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    return _scan(a, b, initial_state, lengths, reset, False)


def log_linear_scan(
    log_a: Tensor, log_b: Tensor, initial_state: Tensor | None, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    return _scan(log_a, log_b, initial_state, lengths, reset, True)


def _scan(
    a: Tensor, b: Tensor, initial: Tensor | None, lengths: Tensor | None, reset: Tensor | None, log: bool
) -> tuple[Tensor, Tensor]:
    options = dense(initial), dense(lengths, torch.int64), dense(reset, torch.uint8)
    return _OPERATOR(a.contiguous(), b.contiguous(), *options, log)


def _outputs(
    a: Tensor, b: Tensor, initial: Tensor | None, lengths: Tensor | None, reset: Tensor | None, log: bool
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(b), b.new_empty(b.shape[0], b.shape[2], dtype=torch.float32)


def _forward(
    a: Tensor, b: Tensor, initial: Tensor | None, lengths: Tensor | None, reset: Tensor | None, log: bool
) -> tuple[Tensor, Tensor]:
    y, last = _outputs(a, b, initial, lengths, reset, log)
    rows, time, dim = b.shape
    tensors = a, b, initial, lengths, reset, y, last
    grid = rows, triton.cdiv(dim, _TILE["BLOCK"])
    launch(_forward_kernel, grid, *tensors, time, dim, LOG=log, **(_HALF if log else _TILE))
    return y, last


def _gradients(
    dy: Tensor,
    dlast: Tensor,
    a: Tensor,
    b: Tensor,
    y: Tensor,
    initial: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
    log: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(a), torch.empty_like(y), torch.empty_like(dlast)


def _backward(
    dy: Tensor,
    dlast: Tensor,
    a: Tensor,
    b: Tensor,
    y: Tensor,
    initial: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
    log: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    gradients = _gradients(dy, dlast, a, b, y, initial, lengths, reset, log)
    rows, time, dim = y.shape
    tensors = a, b, y, initial, lengths, reset, dy, dlast, *gradients
    grid = rows, triton.cdiv(dim, _TILE["BLOCK"])
    launch(_backward_kernel, grid, *tensors, time, dim, LOG=log, **_HALF)
    return gradients


def _keep(inputs: tuple, outputs: tuple) -> tuple:
    (a, b, *rest, log), (y, _) = inputs, outputs
    # The states of the linear one are y's: it needs b for nothing.
    return a, b if log else a, y, *rest, log


_OPERATOR = Operator("scan_triton", _forward, _outputs, _keep, _backward, _gradients)


@triton.jit
def row_length(lengths_ptr, row, time):
    return time if lengths_ptr is None else tl.minimum(tl.load(lengths_ptr + row), time).to(tl.int32)


@triton.jit
def advance(h, a, b):
    """a h + b; b alone where a is 0, as at a reset, which forgets even what is not a number."""
    return tl.where(a == 0, b, a * h + b)


@triton.jit
def _compose(a, b, a_next, b_next):
    """h → a h + b, then h → a_next h + b_next, as one such map."""
    return tl.where(a_next == 0, 0.0, a * a_next), advance(b, a_next, b_next)


@triton.jit
def _log_add(x, y):
    return tl.maximum(x, y) + tl.log(1 + tl.exp(-tl.abs(x - y)))


@triton.jit
def _advance_log(h, a, b):
    return tl.where(a <= _LOG_ZERO, b, _log_add(a + h, b))


@triton.jit
def _compose_log(a, b, a_next, b_next):
    return tl.where(a_next <= _LOG_ZERO, _LOG_ZERO, a + a_next), _advance_log(b, a_next, b_next)


@triton.jit
def frame_in_tile(CHUNKS: tl.constexpr, STEPS: tl.constexpr):
    """(CHUNKS, STEPS, 1): the frame at each place of a tile."""
    return tl.arange(0, CHUNKS)[:, None, None] * STEPS + tl.arange(0, STEPS)[None, :, None]


@triton.jit
def _end_of_chunk(x, STEPS: tl.constexpr):
    return tl.sum(tl.where(tl.arange(0, STEPS)[None, :, None] == STEPS - 1, x, 0.0), 1)


@triton.jit
def scan_chunks(a, b, h, CHUNKS: tl.constexpr, REVERSE: tl.constexpr = False, LOG: tl.constexpr = False):
    """From the maps a, b (CHUNKS, channels) of whole chunks: what each begins with, h (channels,) the first; and the end."""
    FIRST: tl.constexpr = CHUNKS - 1 if REVERSE else 0
    BACK: tl.constexpr = -1 if REVERSE else 1
    chunk = tl.arange(0, CHUNKS)[:, None]
    a, b = tl.associative_scan((a, b), 0, _compose_log if LOG else _compose, reverse=REVERSE)
    end = _advance_log(h[None, :], a, b) if LOG else advance(h[None, :], a, b)
    before = tl.where(chunk == FIRST, FIRST, chunk - BACK)
    start = tl.where(chunk == FIRST, h[None, :], tl.gather(end, tl.broadcast_to(before, end.shape), 0))
    return start, tl.sum(tl.where(chunk == CHUNKS - 1 - FIRST, end, 0.0), 0)


@triton.jit
def scan_tile(a, b, h, CHUNKS: tl.constexpr, STEPS: tl.constexpr, LOG: tl.constexpr = False):
    """(CHUNKS, STEPS, channels) of states that follow on h (channels,), and the last of them.

    The compiler lays threads along channels and chunks first: a chunk's steps are one thread's registers, and the scan
    over them moves no data. Only one map for each chunk passes from thread to thread.
    """
    a, b = tl.associative_scan((a, b), 1, _compose_log if LOG else _compose)
    start, h = scan_chunks(_end_of_chunk(a, STEPS), _end_of_chunk(b, STEPS), h, CHUNKS, LOG=LOG)
    start = start[:, None]
    return _advance_log(start, a, b) if LOG else advance(start, a, b), h


@triton.jit
def _forward_kernel(
    a_ptr, b_ptr, initial_ptr, lengths_ptr, reset_ptr, y_ptr, last_ptr, time, dim,
    LOG: tl.constexpr, CHUNKS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    length = row_length(lengths_ptr, row, time)
    initial = tl.zeros((BLOCK,), tl.float32)
    if initial_ptr is not None:
        initial = tl.load(initial_ptr + row * dim + d, d < dim, 0.0)
    h = tl.maximum(tl.log(initial), _LOG_ZERO) if LOG else initial
    for start in tl.range(0, time, CHUNKS * STEPS, num_stages=2):
        t = start + frame_in_tile(CHUNKS, STEPS)
        at, inside = (row * time + t) * dim + d, (t < time) & (d < dim)
        valid = inside & (t < length)
        # Past its length a row's map is the identity: it holds the state bit for bit.
        a = tl.load(a_ptr + at, valid, 0.0 if LOG else 1.0).to(tl.float32)
        b = tl.load(b_ptr + at, valid, _LOG_ZERO if LOG else 0.0).to(tl.float32)
        if LOG:
            a, b = tl.maximum(a, _LOG_ZERO), tl.maximum(b, _LOG_ZERO)
        if reset_ptr is not None:
            a = tl.where(tl.load(reset_ptr + row * time + t, t < length, 0) != 0, _LOG_ZERO if LOG else 0.0, a)
        y, h = scan_tile(a, b, h, CHUNKS, STEPS, LOG)
        tl.store(y_ptr + at, tl.where(valid, tl.exp(y) if LOG else y, 0.0), inside)
    last = tl.where(length > 0, tl.exp(h), initial) if LOG else h
    tl.store(last_ptr + row * dim + d, last, d < dim)


@triton.jit
def _backward_kernel(
    a_ptr, b_ptr, y_ptr, initial_ptr, lengths_ptr, reset_ptr, dy_ptr, dlast_ptr, da_ptr, db_ptr, dinitial_ptr, time, dim,
    LOG: tl.constexpr, CHUNKS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    length = row_length(lengths_ptr, row, time)
    initial = tl.zeros((BLOCK,), tl.float32)
    if initial_ptr is not None:
        initial = tl.load(initial_ptr + row * dim + d, d < dim, 0.0)
    g = tl.load(dlast_ptr + row * dim + d, d < dim, 0.0)
    for start in tl.range(0, time, CHUNKS * STEPS, num_stages=2):
        # g_t = a_{t+1} g_{t+1} + dy_t: the same scan, with the frames in reverse.
        t = time - 1 - start - frame_in_tile(CHUNKS, STEPS)
        at, inside = (row * time + t) * dim + d, (t >= 0) & (d < dim)
        valid = inside & (t < length)
        dy = tl.load(dy_ptr + at, valid, 0.0).to(tl.float32)
        a_next = tl.load(a_ptr + at + dim, valid & (t + 1 < length), 0.0 if LOG else 1.0).to(tl.float32)
        before = tl.load(y_ptr + at - dim, valid & (t > 0), 0.0).to(tl.float32)
        before = tl.where(t == 0, initial, before)
        if LOG:
            a_next = tl.exp(a_next)
            before *= tl.exp(tl.load(a_ptr + at, valid, 0.0).to(tl.float32))
        if reset_ptr is not None:
            at_reset = reset_ptr + row * time + t
            before = tl.where(tl.load(at_reset, (t >= 0) & (t < length), 0) != 0, 0.0, before)
            a_next = tl.where(tl.load(at_reset + 1, (t >= 0) & (t + 1 < length), 0) != 0, 0.0, a_next)
        dh, g = scan_tile(a_next, dy, g, CHUNKS, STEPS)
        db = dh * tl.exp(tl.load(b_ptr + at, valid, 0.0).to(tl.float32)) if LOG else dh
        tl.store(da_ptr + at, tl.where(valid, dh * before, 0.0), inside)
        tl.store(db_ptr + at, tl.where(valid, db, 0.0), inside)
    if length > 0:
        a = tl.load(a_ptr + row * time * dim + d, d < dim, 0.0).to(tl.float32)
        g *= tl.exp(a) if LOG else a
        if reset_ptr is not None:
            g = tl.where(tl.load(reset_ptr + row * time) != 0, 0.0, g)
    tl.store(dinitial_ptr + row * dim + d, g, d < dim)
