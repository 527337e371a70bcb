"""Where tests of kernels and of whole training steps run: the CPU, or what AUDIOREC_TEST_DEVICE names (`make gpu`)."""

import os

import pytest
import torch

DEVICE = torch.device(os.environ.get("AUDIOREC_TEST_DEVICE", "cpu"))
ON_CUDA = DEVICE.type == "cuda"
# Of a module whose tests run on either device.
pytestmark = [pytest.mark.cuda] if ON_CUDA else []
