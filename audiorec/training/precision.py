"""Which numbers a training multiplies in: ``trainer.precision: auto`` is bfloat16 where the processor computes in it."""

from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


def resolve_precision(
    precision: Literal["auto", "fp32", "bf16"], accelerator: Literal["auto", "cpu", "gpu"]
) -> Precision:
    """``precision`` itself, or for ``auto`` "bf16" where the device at hand multiplies in bfloat16, else "fp32".

    Elsewhere bfloat16 is emulated, and slower than float32. Weights and recurrent states are float32 either way.
    """
    if precision != "auto":
        return precision
    if accelerator != "cpu" and torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch does not say
        native = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return "bf16" if native else "fp32"
