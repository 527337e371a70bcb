"""What a training computes on and in: the device of ``trainer.accelerator``, the numbers of ``trainer.precision``, and the cores
that are spare beside it."""

import multiprocessing
import os
from typing import Literal

import torch

from audiorec.errors import ConfigError

Accelerator = Literal["cpu", "cuda", "mps"]
Precision = Literal["fp32", "bf16"]


def resolve_accelerator(accelerator: Literal["auto", "cpu", "gpu"]) -> Accelerator:
    """The device: for ``auto`` an NVIDIA or AMD GPU ("cuda") where torch sees one, else "cpu"; for ``gpu`` also Apple's "mps".

    Raises ConfigError where ``gpu`` is asked for and torch sees none.
    """
    if accelerator == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if accelerator == "auto":
        return "cpu"
    if torch.backends.mps.is_available():
        return "mps"
    raise ConfigError(
        f"trainer.accelerator: gpu, but torch {torch.__version__} sees none; take cpu or auto, or install torch for your GPU"
    )


def resolve_precision(precision: Literal["auto", "fp32", "bf16"], accelerator: Accelerator) -> Precision:
    """``precision`` itself, or for ``auto`` "bf16" where the device multiplies in bfloat16, else "fp32".

    Elsewhere bfloat16 is emulated, and slower than float32. Weights and recurrent states are float32 either way.
    """
    if precision != "auto":
        return precision
    if accelerator == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif accelerator == "cpu":
        capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch does not say
        native = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    else:
        native = False
    return "bf16" if native else "fp32"


def spare_workers(accelerator: Accelerator, devices: int) -> int:
    """How many processes may prepare batches for each of ``devices``: on the cores that torch's threads leave, one beside a
    CPU, at most four beside a GPU. None where processes are not forked: a script without ``__main__`` would run anew in each.
    """
    if multiprocessing.get_start_method() != "fork":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    busy, most = (torch.get_num_threads(), 1) if accelerator == "cpu" else (1, 4)
    return min(max(cores // devices - busy, 0), most)
