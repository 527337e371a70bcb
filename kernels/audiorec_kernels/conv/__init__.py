"""Causal depthwise convolution with lengths and states first-class."""

from audiorec_kernels.conv.reference import causal_conv1d

__all__ = ["causal_conv1d"]
