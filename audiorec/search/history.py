"""What the hypotheses of a beam have said: bounded, for what all of them share is committed and leaves."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec.streaming import State


@dataclass
class Growth:
    """How each new hypothesis (B, K) came about: from ``origin``, with ``token`` added at ``frame`` where it ``grows``.

    ``word`` is the word that ends with it, in a search of words.
    """

    origin: Tensor
    grows: Tensor
    token: Tensor
    frame: Tensor
    log_prob: Tensor
    word: Tensor | None = None


class History:
    """Tokens (B, K, ``window``) of K hypotheses since the last one committed, with their frames and log-probabilities, in a
    search of words also with the words that end with them.

    A frame adds at most one token to a hypothesis and commits at most one: the first, once all agree on it. A hypothesis
    that fills the window forces the choice: those that begin otherwise than the best are dropped.
    """

    def __init__(self, beam: int, window: int, words: bool = False):
        self.beam = beam
        self.window = window
        self.words = words

    def initial_state(self, batch_size: int, device: torch.device | str) -> State:
        ids = torch.zeros(batch_size, self.beam, self.window, dtype=torch.int64, device=device)
        return {
            "ids": ids,
            "frames": ids.clone(),
            "log_probs": torch.zeros_like(ids, dtype=torch.float32),
            **({"words": ids.clone()} if self.words else {}),
            "length": ids[..., 0].clone(),
        }

    def advance(self, state: State, growth: Growth, alive: Tensor) -> tuple[State, tuple[Tensor, ...], Tensor]:
        """The next state; what is committed, id, frame, log-probability and word of (B,) each, id 0 where nothing is; and who
        of the ``alive`` (B, K), best first, still are."""
        length = state["length"].gather(1, growth.origin)
        index = growth.origin[..., None].expand_as(state["ids"])
        place = torch.arange(self.window, device=length.device)
        write = (place == length[..., None]) & growth.grows[..., None]
        new = {"ids": growth.token, "frames": growth.frame, "log_probs": growth.log_prob}
        if growth.word is not None:
            new["words"] = growth.word
        held = {name: torch.where(write, new[name][..., None], state[name].gather(1, index)) for name in new}
        length = length + growth.grows

        first = held["ids"][..., 0]  # 0 where there is none
        agrees = (first == first[:, :1]) | ~alive
        if growth.word is not None:
            word = held["words"][..., 0]
            agrees = agrees & ((word == word[:, :1]) | ~alive)
        full = (alive & (length == self.window)).any(1)
        alive = alive & (agrees | ~full[:, None])
        commits = (agrees.all(1) | full) & (first[:, 0] != 0)
        committed = tuple(
            torch.where(commits, leaf[:, 0, 0], torch.zeros_like(leaf[:, 0, 0])) for leaf in held.values()
        )
        shift = commits[:, None, None]
        held = {name: torch.where(shift, F.pad(x[..., 1:], (0, 1)), x) for name, x in held.items()}
        return {**held, "length": (length - commits[:, None].long()).clamp(min=0)}, committed, alive
