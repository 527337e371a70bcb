"""Fused recurrences on plain tensors. Knows nothing of speech, configuration or audiorec."""

from audiorec_kernels.backends import backend

__all__ = ["backend"]
