"""Which implementation serves a call: triton (NVIDIA), then native (CPU), then the reference."""

import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from audiorec_kernels import native

_NAMES = "auto", "triton", "native", "reference"
_forced = "auto"
_functions: dict[tuple[str, str, str], Callable | None] = {}
_warned: set[str] = set()
_onnx = False


class _Restore:
    """What ``backend(name)`` returns: a context manager that restores the choice before it."""

    def __init__(self, before: str):
        self.before = before

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        backend(self.before)


def backend(name: str | None = None) -> dict[str, str] | _Restore:
    """What serves each device, as {"cpu": "native", "cuda": "triton"}; or with a name, that one serves from now on.

    The name is "triton", "native", "reference" or "auto", the best for each device. ``with backend("reference"):`` holds
    within the block. float64 and whatever is exported are the reference's in any case.
    """
    global _forced
    if name is None:
        return {device: serving(device) for device in ("cpu", "cuda")}
    if name not in _NAMES:
        raise ValueError(f"backend: the name must be one of {', '.join(_NAMES)}, got {name!r}")
    if name == "native" and native.LIBRARY is None:
        raise ValueError(f"backend: native cannot serve: {native.ABSENT}")
    before, _forced = _forced, name
    return _Restore(before)


@contextmanager
def for_onnx() -> Iterator[None]:
    """Within it what torch.export traces of torch's own LSTM and GRU are the operators that ONNX has itself.

    Such a program can only be translated to ONNX: it does not compute in torch.
    """
    global _onnx
    before, _onnx = _onnx, True
    try:
        yield
    finally:
        _onnx = before


def tracing_for_onnx() -> bool:
    """Whether torch.export traces this within ``for_onnx``."""
    return _onnx and torch.compiler.is_compiling()


def serving(device: str) -> str:
    """The backend that is tried first on "cpu" or "cuda"."""
    return _order(device)[0]


def choose(family: str, function: str, x: Tensor) -> Callable:
    """The implementation of a family's function that serves ``x``; ``family`` is the package's name."""
    # An export holds plain operators only. float64 is for checks, which need the definition.
    if x.dtype is torch.float64 or _exporting() or torch.jit.is_tracing():
        return _find(family, function, "reference")
    for name in _order(x.device.type):
        implementation = _find(family, function, name)
        if implementation is not None:
            return implementation
    raise ValueError(f"{function}: backend {_forced!r} does not have it")


def _exporting() -> bool:
    """Whether torch.export traces this. Before torch 2.7 nothing tells it from torch.compile; both then trace the reference.

    The flag, not ``torch.compiler.is__exporting()``: torch.compile takes that for true wherever it traces it.
    """
    return getattr(torch.compiler, "_is_exporting_flag", torch.compiler.is_compiling())


def _order(device: str) -> tuple[str, ...]:
    """Backends to try, the best first."""
    if _forced != "auto":
        return (_forced,)
    if device == "cuda":
        if _triton():
            return "triton", "reference"
        _warn("audiorec_kernels: triton does not import; plain torch serves CUDA, many times slower")
    if device == "cpu":
        if native.LIBRARY is not None:
            return "native", "reference"
        _warn(f"audiorec_kernels: plain torch serves the CPU, many times slower: {native.ABSENT}")
    return ("reference",)


def prepare(family: str, *functions: str) -> None:
    """Import what may serve a family's functions on this machine: a call under torch.compile cannot."""
    serving = {
        "reference": True,
        "native": native.LIBRARY is not None,
        "triton": torch.cuda.is_available() and _triton(),
    }
    for name in (name for name, serves in serving.items() if serves):
        for function in functions:
            _find(family, function, name)


def _find(family: str, function: str, name: str) -> Callable | None:
    key = family, function, name
    if key not in _functions:
        try:
            module = importlib.import_module(f"{family}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{family}.{name}":
                raise
            module = None  # a family that has no such implementation yet
        _functions[key] = getattr(module, function, None)
    return _functions[key]


def _triton() -> bool:
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


def _warn(line: str) -> None:
    if line not in _warned:
        _warned.add(line)
        warnings.warn(line)
