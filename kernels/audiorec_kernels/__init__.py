"""Fused recurrences on plain tensors. Knows nothing of speech, configuration or audiorec."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiorec_kernels.backends import backend
    from audiorec_kernels.conv import causal_conv1d
    from audiorec_kernels.lattice import arc_lattice, transducer_lattice
    from audiorec_kernels.lti import lti_scan, lti_scan_step
    from audiorec_kernels.precision import full_precision
    from audiorec_kernels.product import linear
    from audiorec_kernels.rnn import dense_gru, dense_lstm, dense_lstm_states, gru, lstm, trains_natively
    from audiorec_kernels.scan import linear_scan, linear_scan_step, log_linear_scan
    from audiorec_kernels.ssm import selective_scan, selective_scan_step

__all__ = [
    "arc_lattice",
    "backend",
    "causal_conv1d",
    "dense_gru",
    "dense_lstm",
    "dense_lstm_states",
    "full_precision",
    "gru",
    "linear",
    "linear_scan",
    "linear_scan_step",
    "log_linear_scan",
    "lstm",
    "lti_scan",
    "lti_scan_step",
    "selective_scan",
    "selective_scan_step",
    "trains_natively",
    "transducer_lattice",
]
_FAMILIES = "conv", "lattice", "lti", "product", "rnn", "scan", "ssm"
_OTHERS = {"backend": "backends", "full_precision": "precision"}


def __getattr__(name: str) -> object:
    """A module is imported when one of its functions is first asked for, so that what needs no torch comes without."""
    if name in __all__:
        for part in (_OTHERS[name],) if name in _OTHERS else _FAMILIES:
            module = import_module(f"audiorec_kernels.{part}")
            if name in _OTHERS or name in module.__all__:
                globals()[name] = getattr(module, name)
                return globals()[name]
    raise AttributeError(f"audiorec_kernels has no {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
