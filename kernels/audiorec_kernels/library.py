"""The native library (csrc/): found and loaded. Knows no torch."""

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path

_path = Path(os.environ.get("AUDIOREC_KERNELS_LIBRARY") or Path(__file__).parent / "lib" / "libaudiorec_kernels.so")
LIBRARY: ctypes.CDLL | None = None
ABSENT = ""  # why there is none
_level = ""
try:
    LIBRARY = ctypes.CDLL(str(_path))
    LIBRARY.audiorec_level.restype = ctypes.c_char_p
    # A lower level than the machine's can be asked for, to try it.
    _level = os.environ.get("AUDIOREC_KERNELS_LEVEL") or LIBRARY.audiorec_level().decode()
except OSError as error:
    ABSENT = f"{error}; install again with a C++ compiler" if _path.exists() else "it was installed without a compiler"

# Whether it has vectors and fused multiply-adds, which not every kernel of ours is worth calling without.
WIDE = _level in ("avx2", "avx512")


def function(name: str, arguments: Sequence[type], result: type | None = None) -> Callable:
    """A function of the library, at the machine's level. Raises RuntimeError where the library has none of this name."""
    try:
        found = getattr(LIBRARY, f"{name}_{_level}")
    except AttributeError:
        raise RuntimeError(f"{_path} has no {name}: it is older than the package; install again") from None
    found.argtypes, found.restype = arguments, result
    return found
