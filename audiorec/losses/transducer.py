"""The full transducer loss (Graves 2012) and the parts that all transducer losses share, with k2's names and numbers."""

import torch
import torch.nn.functional as F
from audiorec_kernels.lattice import transducer_lattice
from torch import Tensor

from audiorec.losses.log_probs import chosen_log_probs

RNNT_TYPES = ("regular", "modified", "constrained")
REDUCTIONS = ("none", "mean", "sum")


def get_rnnt_logprobs_joint(
    logits: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
) -> tuple[Tensor, Tensor]:
    """px (B, S, T+1), or (B, S, T) unless regular, and py (B, S+1, T): log-probabilities of the next symbol and of a blank
    (the termination symbol), from logits (B, T, S+1, V) and symbols (B, S)."""
    check_symbols(symbols, termination_symbol, logits.shape[-1])
    batch, frames, rows, _ = logits.shape if logits.ndim == 4 else (0, 0, 0, 0)
    if (batch, rows) != (len(symbols), symbols.shape[1] + 1):
        raise ValueError(
            f"logits must be (B, T, S+1, V) with symbols (B, S), got {tuple(logits.shape)}, {tuple(symbols.shape)}"
        )
    following = F.pad(symbols, (0, 1), value=termination_symbol)
    index = torch.stack([following, torch.full_like(following, termination_symbol)], -1)
    chosen = chosen_log_probs(logits, index[:, None].expand(batch, frames, rows, 2))
    px, py = chosen.transpose(1, 2).unbind(-1)
    return arcs(px[:, :-1], py, boundary, rnnt_type)


def rnnt_loss(
    logits: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
    delay_penalty: float = 0.0,
    reduction: str = "mean",
    fastemit: float = 0.0,
) -> Tensor:
    """−log P(symbols) over all alignments: logits (B, T, S+1, V), symbols (B, S), boundary (B, 4): (0, 0, S_b, T_b).

    ``rnnt_type``: ``regular`` any number of symbols a frame, ``modified`` one at most (a symbol moves on to the next frame),
    ``constrained`` the same with the blank that ends the frame. ``delay_penalty`` adds (T_b − 1)/2 − t times itself to a
    symbol's log-probability at frame t (Kang et al. 2022); ``fastemit`` λ makes the gradient of symbols 1 + λ times as large
    (Yu et al. 2021). A row without a path has loss +inf and no gradient; ``reduction``: none, mean (over rows) or sum.
    """
    px, py = get_rnnt_logprobs_joint(logits, symbols, termination_symbol, boundary, rnnt_type)
    return lattice_loss(px, py, boundary, delay_penalty, reduction, fastemit)[0]


def arcs(px: Tensor, py: Tensor, boundary: Tensor | None, rnnt_type: str) -> tuple[Tensor, Tensor]:
    """The lattice's arcs, px (B, S, T+1) where rnnt_type is regular, else (B, S, T), and py (B, S+1, T), from the
    log-probabilities of symbols px (B, S, T) and of a blank py (B, S+1, T)."""
    if rnnt_type not in RNNT_TYPES:
        raise ValueError(f"rnnt_type must be one of {', '.join(RNNT_TYPES)}, got {rnnt_type!r}")
    if rnnt_type == "constrained":
        return px + py[:, 1:], py
    if rnnt_type == "modified":
        return px, py
    px = F.pad(px, (0, 1), value=-torch.inf)
    if boundary is None:
        return px, py
    # No symbol comes after the last frame's blank.
    after_last = torch.arange(px.shape[2], device=px.device) == boundary[:, 3:].to(px.device)
    return px.masked_fill(after_last[:, None], -torch.inf), py


def lattice_loss(
    px: Tensor,
    py: Tensor,
    boundary: Tensor | None,
    delay_penalty: Tensor | float,
    reduction: str,
    fastemit: float = 0.0,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The loss of the arcs, reduced, and their occupancies. A delay_penalty on the device, (), is not read back."""
    if isinstance(delay_penalty, Tensor) or delay_penalty:
        frame = torch.arange(px.shape[2], device=px.device)
        last = py.shape[2] - 1 if boundary is None else boundary[:, 3, None, None].to(px.device) - 1
        px = px + delay_penalty * (last / 2 - frame)  # in float32, as k2 does
    if fastemit and px.requires_grad:
        px.register_hook(lambda gradient: (1 + fastemit) * gradient)
    score, occupancies = transducer_lattice(px, py, boundary)
    return reduced(-score, reduction), occupancies


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The rows' losses (B,) as they are, or their mean or sum."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    return losses if reduction == "none" else getattr(losses, reduction)()


def check_symbols(symbols: Tensor, termination_symbol: int, vocabulary: int) -> None:
    """Raises ValueError where the blank or, on the CPU, a symbol is not in the vocabulary: a GPU would have to wait."""
    if not 0 <= termination_symbol < vocabulary:
        raise ValueError(f"termination_symbol (blank) must lie in 0..{vocabulary - 1}, got {termination_symbol}")
    if symbols.ndim != 2 or symbols.dtype != torch.int64:
        raise ValueError(f"symbols must be int64 (B, S), got {symbols.dtype} {tuple(symbols.shape)}")
    check_range("symbols", symbols, vocabulary)


def check_range(name: str, x: Tensor, size: int) -> None:
    """Raises ValueError where a value of x, on the CPU, is not in 0..size - 1."""
    if x.device.type != "cpu" or not x.numel():
        return
    lowest, highest = (int(value) for value in x.aminmax())
    if lowest < 0 or highest >= size:
        raise ValueError(f"{name} must lie in 0..{size - 1}, got {lowest}..{highest}")
