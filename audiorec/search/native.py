"""The beam searches' inner loop by the native kernel, which is held to ``BeamSearch`` token for token."""

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from audiorec_kernels.backends import serving
from audiorec_kernels.beam import LEAVES, Beam
from audiorec_kernels.native import threads
from torch import Tensor

from audiorec.search.automaton import must_fit
from audiorec.search.tokens import Tokens
from audiorec.streaming import State

if TYPE_CHECKING:
    from audiorec.search.beam import BeamSearch

WORK = 64  # of a token that is tried, beside reading one score


def serves(x: Tensor) -> bool:
    """Whether the kernel searches these frames: on a CPU, where it was built and no other backend is forced."""
    return x.is_cpu and serving("cpu") == "native"


def beam_of(
    search: "BeamSearch", state: State, time: int, lengths: Tensor | None, tried: int, symbols: int
) -> tuple[Beam, State]:
    """The kernel on a copy of what it changes in a state, and that copy. Raises UserError for what is over other symbols."""
    automata, words = search.automata, search.words
    if automata:
        must_fit(automata.symbols, symbols)
    if words:
        must_fit(words.lexicon.symbols, symbols)
    leaves: dict[str, Tensor] = {}
    after = _copied(state, "", leaves)
    lengths = None if lengths is None else lengths.to(torch.int64).contiguous()
    helpers = automata.kernel() if automata else None, words.kernel if words else None
    return Beam(leaves, time, lengths, min(tried, symbols - 1), *helpers, search.threshold), after


def ctc(search: "BeamSearch", scores: Tensor, lengths: Tensor | None, state: State) -> tuple[Tokens, State]:
    """The tokens that log-probabilities (B, T, V) commit."""
    batch, time, symbols = scores.shape
    tried = search.tried + 1  # one more, as ``CtcBeamSearch.expand`` says
    beam, after = beam_of(search, state, time, lengths, tried, symbols)
    beam.ctc(scores.contiguous(), threads(batch * time * (symbols + search.beam * tried * WORK)))
    return tokens_of(search, beam), after


def tokens_of(search: "BeamSearch", beam: Beam) -> Tokens:
    """What was committed, as a search gives it."""
    lengths = torch.from_numpy(beam.lengths)
    if not beam.lengths.any():  # as at most frames of a live stream
        return Tokens(*_nothing(len(lengths)), lengths)
    longest = int(beam.lengths.max())
    *parts, words = (torch.from_numpy(part[:, :longest]) for part in beam.said)
    return Tokens(*parts, lengths, words if search.words else None)


@cache
@torch.inference_mode(False)
def _nothing(batch: int) -> tuple[Tensor, Tensor, Tensor]:
    ids = torch.empty(batch, 0, dtype=torch.int64)
    return ids, ids, torch.empty(batch, 0)


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
