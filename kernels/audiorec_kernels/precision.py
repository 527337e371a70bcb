"""Float32 that is computed as float32: no autocast, no TF32, no bfloat16 products."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

# Since torch 2.9 each of these has a setting of its own, ``fp32_precision``, beside the older settings for all of them.
_ON_CPU = tuple(getattr(torch.backends.mkldnn, name, None) for name in ("matmul", "conv", "rnn"))
_ON_CUDA = torch.backends.cuda.matmul, *(getattr(torch.backends.cudnn, name, None) for name in ("conv", "rnn"))
_OPERATORS = (*_ON_CUDA, *_ON_CPU) if hasattr(_ON_CPU[0], "fp32_precision") else ()


def full_precision(x: Tensor | torch.device) -> AbstractContextManager:
    """A context in which float32 is float32 on x's device: autocast casts nothing; TF32 and the like are off.

    What was set before is set again when the process leaves its outermost such block. A backward pass runs at what is set
    when it runs, a compiled graph at what is set when it is called.
    """
    device = (x.device if isinstance(x, Tensor) else x).type
    if device == "meta":  # has no autocast to switch off
        return nullcontext()
    if torch.compiler.is_compiling():
        return torch.autocast(device, enabled=False)
    if device == "cpu" and not _reduced_on_cpu():  # nothing to switch off but autocast, which a live step has not on
        return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
    return _full_precision(device)


@contextmanager
def _full_precision(device: str) -> Iterator[None]:
    with torch.autocast(device, enabled=False), _REDUCED_OFF:
        yield


def _reduced_on_cpu() -> bool:
    """Whether oneDNN may take float32 products in TF32 or bfloat16."""
    if not _OPERATORS:
        return torch.get_float32_matmul_precision() != "highest"
    return any(operator.fp32_precision not in ("none", "ieee") for operator in _ON_CPU)


class _ReducedOff:
    """Switches reduced precision off. The settings belong to the process: the first thread in saves them, the last restores."""

    def __init__(self):
        self.lock = threading.Lock()
        self.depth = 0

    def __enter__(self) -> None:
        with self.lock:
            self.depth += 1
            if self.depth == 1:
                self.saved = _read_old(), [operator.fp32_precision for operator in _OPERATORS]
                _write(("highest", False), ["ieee"] * len(_OPERATORS))

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.depth -= 1
            if self.depth == 0:
                _write(*self.saved)


_REDUCED_OFF = _ReducedOff()


def _read_old() -> tuple[str, bool] | None:
    """The older settings; None where a newer one disagrees, for torch then refuses to read them."""
    try:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return None


def _write(old: tuple[str, bool] | None, new: Sequence[str]) -> None:
    if old is not None:  # first: they write the newer ones, too
        torch.set_float32_matmul_precision(old[0])
        torch.backends.cudnn.allow_tf32 = old[1]
    for operator, precision in zip(_OPERATORS, new, strict=True):
        operator.fp32_precision = precision
