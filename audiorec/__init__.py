"""audiorec: streaming speech recognition on recurrent backbones. What you measure offline is what you get live."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Names are looked up when they are first used, so that `import audiorec` costs nothing and `audiorec --help` needs no torch.
_HOMES = {
    "load": "audiorec.recognizer",
    "Recognizer": "audiorec.recognizer",
    "Stream": "audiorec.recognizer",
    "UserError": "audiorec.errors",
}
__all__ = ["Recognizer", "Stream", "UserError", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'audiorec' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
