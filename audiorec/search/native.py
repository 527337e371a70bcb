"""The beam searches' inner loop by the native kernel, which is held to ``BeamSearch`` token for token."""

import torch
from audiorec_kernels.backends import serving
from audiorec_kernels.beam import Beam, Said
from audiorec_kernels.native import threads
from torch import Tensor

from audiorec.search.automata import Pool, Shared, must_fit
from audiorec.search.tokens import Tokens
from audiorec.streaming import State, leaves, map_state

CHANGED = "score", "bonus", "automata", "last", "hash", "parent", "frame", "margin"
WORK = 64  # of a token that is tried, beside a sum


def serves(x: Tensor) -> bool:
    """Whether the kernel searches these frames: on a CPU, where it was built and no other backend is forced."""
    return x.is_cpu and serving("cpu") == "native"


def copied(state: State) -> State:
    """A copy of what the kernel writes to: contiguous, all but the subclass's part."""
    changed = {name: _copy(state[name]) for name in CHANGED}
    return {**state, **changed, "history": map_state(_copy, state["history"])}


def beam_of(state: State, time: int, lengths: Tensor | None, tried: int, automata: Shared | Pool) -> Beam:
    """The kernel's view of a state that ``copied`` has made."""
    lengths = None if lengths is None else lengths.to(torch.int64).contiguous()
    return Beam(dict(leaves(state)), time, lengths, tried, automata.kernel() if automata else None)


def ctc(
    scores: Tensor, lengths: Tensor | None, state: State, tried: int, automata: Shared | Pool
) -> tuple[Tokens, State]:
    """The tokens that log-probabilities (B, T, V) commit. Raises UserError for automata over other symbols."""
    if automata:
        must_fit(automata.symbols, scores.shape[-1])
    after = copied(state)
    after["own"] = map_state(_copy, state["own"])
    tried = min(tried + 1, scores.shape[-1] - 1)  # as ``CtcBeamSearch.expand`` says
    beam = beam_of(after, scores.shape[1], lengths, tried, automata)
    work = scores.numel() + scores.shape[0] * scores.shape[1] * state["score"].shape[1] * tried * WORK
    return as_tokens(beam.ctc(scores.contiguous(), threads(work))), after


def as_tokens(said: Said) -> Tokens:
    """Committed tokens as a search gives them."""
    longest = int(said.lengths.max(initial=0))
    if longest == 0:
        return Tokens.none(len(said.lengths))
    ids, frames, log_probs, lengths = map(torch.from_numpy, said)
    return Tokens(ids[:, :longest], frames[:, :longest], log_probs[:, :longest], lengths)


def _copy(leaf: Tensor) -> Tensor:
    return leaf.clone(memory_format=torch.contiguous_format)
