"""Convolutions over time towards ONNX, as products and sums of what each tap sees, are torch's."""

import pytest
import torch
from audiorec_kernels.backends import for_onnx

from audiorec.encoders.conformer import Convolution
from audiorec.encoders.subsampling import StridedConv


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("stride, kernel", [(1, 1), (2, 2), (2, 5), (3, 4)])
@pytest.mark.parametrize("strides", [1, 3, 40])
@torch.no_grad()
def test_a_strided_convolution(stride, kernel, strides, separable):
    module = StridedConv(12, 16, stride, kernel, separable)
    frames = torch.randn(2, kernel - stride + strides * stride, 12)
    expected = module.convolve(frames)
    with for_onnx():
        torch.testing.assert_close(module.convolve(frames), expected, rtol=1e-5, atol=1e-6)
    assert expected.shape == (2, strides, 16)


@pytest.mark.parametrize("lengths", [None, torch.tensor([7, 3, 0])])
@torch.no_grad()
def test_the_conformers_convolution(lengths):
    module, x, state = Convolution(16, 9), torch.randn(3, 7, 16), {"left": torch.randn(3, 8, 16)}
    expected, _, _ = module.advance(x, lengths, state)
    with for_onnx():
        torch.testing.assert_close(module.advance(x, lengths, state)[0], expected, rtol=1e-5, atol=1e-6)
