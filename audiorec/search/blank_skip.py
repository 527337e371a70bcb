"""``BlankSkip``: a transducer search that never sees the frames in which CTC hears nothing (Wang et al. 2023)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from audiorec.search.automaton import Automaton
from audiorec.search.tokens import Tokens
from audiorec.streaming import State, valid
from audiorec.text import BLANK
from audiorec.transcript import Hypothesis


class BlankSkip:
    """Frames (B, T, C) whose blank has a probability above ``threshold`` by ``scores``, the CTC head of the same encoder, are
    left out of ``search``; the others keep the times that they have. The state is the search's."""

    def __init__(self, search: Any, scores: Callable[[Tensor], Tensor], threshold: float):
        self.search = search
        self.scores = scores
        self.threshold = math.log(threshold)
        self.revises, self.segments = search.revises, search.segments

    def add(self, automata: Sequence[Automaton]) -> int:
        return self.search.add(automata)

    def remove(self, owner: int) -> None:
        self.search.remove(owner)

    def initial_state(self, batch_size: int, device: torch.device | str = "cpu", owner: int | Tensor = 0) -> State:
        return self.search.initial_state(batch_size, device, owner)

    @torch.no_grad()
    def step(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tokens, State]:
        """The tokens that these frames add: x (B, T, C), lengths (B,) any from 0 to T, or None: all of T."""
        if x.shape[1] == 0:
            return self.search.step(x, lengths, state)
        kept = ~(self.scores(x)[..., BLANK] > self.threshold)
        kept = kept if lengths is None else kept & valid(lengths, x.shape[1])
        time = x.shape[1]
        order, counts = (~kept).to(torch.uint8).argsort(dim=1, stable=True), kept.sum(1)
        x = x.gather(1, order[..., None].expand_as(x))[:, : int(counts.max())]
        tokens, after = self.search.step(x, counts, state)
        began = state["frame"][:, None]

        def in_time(frames: Tensor) -> Tensor:
            """Frames counted among the kept ones since ``began`` → frames of the stream."""
            here = frames.flatten(1)
            place = (here - began).clamp(0, order.shape[1] - 1)
            return torch.where(here < began, here, began + order.gather(1, place)).view_as(frames)

        tokens.frames = in_time(tokens.frames) * valid(tokens.lengths, tokens.frames.shape[1])
        if "history" in after:  # a beam has tokens that are not committed
            history = after["history"]
            after = {**after, "history": {**history, "frames": in_time(history["frames"])}}
        return tokens, {**after, "frame": state["frame"] + (time if lengths is None else lengths)}

    def partial(self, state: State) -> Tokens:
        return self.search.partial(state)

    def commit(self, state: State) -> tuple[Tokens, State]:
        return self.search.commit(state)

    def keep(self, state: State, which: Sequence[int]) -> State:
        return self.search.keep(state, which)

    def flush(self, state: State) -> Tokens:
        return self.search.flush(state)

    def hypotheses(self, state: State, row: int) -> list[Hypothesis]:
        return self.search.hypotheses(state, row)
