"""Compiles Triton's kernels ahead of time for sm_90, as their operators launch them on training's shapes; needs no GPU.

python tools/compile_kernels.py [case …]   prints registers, stack and shared memory; exits 1 where a kernel spills.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
import triton
from audiorec_kernels.operator import Operator
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

_SHARED = 227 << 10  # bytes of shared memory that a program may have
_CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


def _meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _lattice(x: Callable, regular: int) -> tuple:
    return x(30, 60, 250 + regular), x(30, 61, 250), _meta(30, 4, dtype=torch.int64)


def _arcs(x: Callable) -> tuple:
    """Those of a TDT that lasts 0 to 4 frames."""
    moves = [*((1, d) for d in range(5)), *((0, d) for d in range(1, 5))]
    return x(len(moves), 30, 61, 251), moves, _meta(30, 4, dtype=torch.int64)


def _rnn(x: Callable, gates: int, large: bool, rows: int) -> tuple:
    """wx, R, b and a state, with heads as large as stay on chip or larger; these take a launch for every frame."""
    heads, dim = (4, 256) if large else (4, 128) if x.keywords["dtype"] is torch.bfloat16 else (8, 64)
    wx = x(rows, 2 if large else 500, gates, heads, dim)
    return wx, _meta(heads, dim, gates, dim), _meta(gates, heads, dim), _meta(rows, heads, dim)


def _lstm(x: Callable, large: bool = False, rows: int = 32) -> tuple:
    *inputs, state = _rnn(x, 4, large, rows)
    return *inputs, (state, state)


def _gru(x: Callable, large: bool = False, rows: int = 32) -> tuple:
    *inputs, state = _rnn(x, 3, large, rows)
    return *inputs, _meta(*state.shape[1:]), state


# Arguments up to lengths and reset; x makes those in the dtype of activations. A second word tells cases of a function apart.
CASES: dict[str, tuple[str, Callable[[Callable], tuple]]] = {
    "linear_scan": ("scan", lambda x: (x(16, 1000, 512), x(16, 1000, 512), _meta(16, 512))),
    "log_linear_scan": ("scan", lambda x: (x(16, 1000, 512), x(16, 1000, 512), _meta(16, 512))),
    "selective_scan": (
        "ssm",
        lambda x: (
            *(x(16, 1000, 1024), x(16, 1000, 1024), _meta(1024, 16), x(16, 1000, 16), x(16, 1000, 16)),
            *(_meta(1024), x(16, 1000, 1024), _meta(1024), True, _meta(16, 1024, 16)),
        ),
    ),
    "_carry": ("lti", lambda x: (_meta(16, 32, 256, 128), _meta(128, 128), _meta(16, 256, 128))),
    "causal_conv1d": ("conv", lambda x: (x(16, 1000, 1024), _meta(1024, 4), _meta(1024), "silu", _meta(16, 3, 1024))),
    "transducer_lattice": ("lattice", partial(_lattice, regular=1)),
    "transducer_lattice modified": ("lattice", partial(_lattice, regular=0)),
    "arc_lattice": ("lattice", _arcs),
    "lstm": ("rnn", _lstm),
    "lstm many": ("rnn", partial(_lstm, rows=1024)),  # programs of twice as many rows
    "lstm large": ("rnn", partial(_lstm, large=True)),
    "gru": ("rnn", _gru),
    "gru many": ("rnn", partial(_gru, rows=1024)),
    "gru large": ("rnn", partial(_gru, large=True)),
}
# Of lengths and reset, those in front that a family's function does not know.
_WITHOUT = {"lti": 1, "lattice": 2}


class _NoDriver:
    """What Triton asks of a driver before it compiles."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compiled(case: str, dtype: torch.dtype, ragged: bool) -> list:
    """The kernels of a function's forward and backward."""
    family, arguments = CASES[case]
    module = import_module(f"audiorec_kernels.{family}.triton")
    kernels, run = [], JITFunction.run

    def compile_only(self, *args, grid, warmup, **options):
        kernels.append(run(self, *args, grid=grid, warmup=True, **options))

    def both_ways(self, *inputs):
        outputs = self.forward(*inputs)
        home = sys.modules[self.forward.__module__]
        if hasattr(home, "_backward"):  # a backward of a family's own has kernels of its own
            home._backward(*map(torch.empty_like, outputs), *self.keep(inputs, outputs))
        return outputs

    triton.runtime.driver.set_active(_NoDriver())
    call, JITFunction.run, Operator.__call__ = Operator.__call__, compile_only, both_ways
    try:
        given = arguments(partial(_meta, dtype=dtype))
        rows, time = given[0].shape[:2]
        rest = (_meta(rows, dtype=torch.int64), _meta(rows, time, dtype=torch.bool)) if ragged else (None, None)
        getattr(module, case.split()[0])(*given, *rest[_WITHOUT.get(family, 0) :])
    finally:
        JITFunction.run, Operator.__call__ = run, call
    return list(dict.fromkeys(kernels))


def resources(kernel) -> dict[str, int]:
    """Registers of a thread; bytes of its stack, which hold what they cannot; bytes of shared memory of a program."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        listing = subprocess.run([_CUOBJDUMP, "-res-usage", file.name], capture_output=True, text=True, check=True)
    found = dict(re.findall(r"(REG|STACK):(\d+)", listing.stdout + listing.stderr))
    return {"registers": int(found["REG"]), "stack": int(found["STACK"]), "shared": kernel.metadata.shared}


def main(cases: list[str]) -> int:
    worst = 0
    for case in cases or CASES:
        for dtype in (torch.bfloat16, torch.float32):
            for ragged in (False, True):
                for kernel in compiled(case, dtype, ragged):
                    used = resources(kernel)
                    bad = used["stack"] > 0 or used["shared"] > _SHARED
                    worst = max(worst, bad)
                    what = f"{case:27} {str(dtype)[6:]:9} {'ragged' if ragged else 'whole':7} {kernel.name:20}"
                    print(what, *(f"{name} {n:6}" for name, n in used.items()), "TOO MUCH" if bad else "", flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
