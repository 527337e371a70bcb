"""audiorec: streaming speech recognition on recurrent backbones. What you measure offline is what you get live.

``load`` a model, ``transcribe`` recordings, ``stream`` live audio::

    recognizer = audiorec.load("exp/lstm_ctc")
    print(recognizer.transcribe("hello.wav").text)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiorec.errors import ConfigError, UserError
    from audiorec.live import Engine, Stream
    from audiorec.loading import load
    from audiorec.recognizer import Recognizer
    from audiorec.serving.client import Client
    from audiorec.transcript import Alternative, Piece, Result, Segment

__version__ = "0.1.0"

# Names are looked up when they are first used, so that `import audiorec` costs nothing and `audiorec --help` needs no torch.
_HOMES = {
    "Recognizer": "audiorec.recognizer",
    "load": "audiorec.loading",
    "Client": "audiorec.serving.client",
    **dict.fromkeys(["Engine", "Stream"], "audiorec.live"),
    **dict.fromkeys(["Alternative", "Piece", "Result", "Segment"], "audiorec.transcript"),
    **dict.fromkeys(["ConfigError", "UserError"], "audiorec.errors"),
}
__all__ = [
    "Alternative",
    "Client",
    "ConfigError",
    "Engine",
    "Piece",
    "Recognizer",
    "Result",
    "Segment",
    "Stream",
    "UserError",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'audiorec' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__doc__", "__file__", "__name__", "__path__"]
