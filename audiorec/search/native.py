"""The beam searches' inner loop by the native kernel, which is held to ``BeamSearch`` token for token."""

from typing import Any

import torch
from audiorec_kernels.backends import serving
from audiorec_kernels.beam import LEAVES, Beam
from audiorec_kernels.native import threads
from torch import Tensor

from audiorec.search.automata import Pool, Shared, must_fit
from audiorec.search.tokens import Tokens
from audiorec.streaming import State

WORK = 64  # of a token that is tried, beside reading one score


def serves(x: Tensor) -> bool:
    """Whether the kernel searches these frames: on a CPU, where it was built and no other backend is forced."""
    return x.is_cpu and serving("cpu") == "native"


def beam_of(
    state: State, time: int, lengths: Tensor | None, tried: int, automata: Shared | Pool, symbols: int
) -> tuple[Beam, State]:
    """The kernel on a copy of what it changes in a state, and that copy. Raises UserError for automata over other symbols."""
    if automata:
        must_fit(automata.symbols, symbols)
    leaves: dict[str, Tensor] = {}
    after = _copied(state, "", leaves)
    lengths = None if lengths is None else lengths.to(torch.int64).contiguous()
    return Beam(leaves, time, lengths, min(tried, symbols - 1), automata.kernel() if automata else None), after


def ctc(
    scores: Tensor, lengths: Tensor | None, state: State, tried: int, automata: Shared | Pool
) -> tuple[Tokens, State]:
    """The tokens that log-probabilities (B, T, V) commit."""
    batch, time, symbols = scores.shape
    beam, after = beam_of(state, time, lengths, tried + 1, automata, symbols)  # one more, as ``CtcBeamSearch.expand`` says
    beam.ctc(scores.contiguous(), threads(batch * time * (symbols + state["score"].shape[1] * tried * WORK)))
    return tokens_of(beam), after


def tokens_of(beam: Beam) -> Tokens:
    """What was committed, as a search gives it."""
    lengths = torch.from_numpy(beam.lengths)
    if not beam.lengths.any():
        return Tokens.none(len(lengths))
    longest = int(beam.lengths.max())
    return Tokens(*(torch.from_numpy(part[:, :longest]) for part in beam.said), lengths)


def _copied(state: State, prefix: str, leaves: dict[str, Tensor]) -> State:
    """A tree whose leaves that the kernel changes are contiguous copies; all ``leaves`` are told by their dotted names."""
    copy: dict[str, Any] = {}
    for key, leaf in state.items():
        name = prefix + key
        if isinstance(leaf, dict):
            copy[key] = _copied(leaf, name + ".", leaves)
        else:
            if name in LEAVES:
                leaf = leaf.clone() if leaf.is_contiguous() else leaf.contiguous()
            copy[key] = leaves[name] = leaf
    return copy
