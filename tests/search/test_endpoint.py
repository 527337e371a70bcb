"""Segments of speech: the rules as they are written down, and the law that any split into pieces gives the same ones."""

import random

import numpy as np
import pytest
import torch

from audiorec.audio.levels import Levels
from audiorec.config import parse
from audiorec.errors import ConfigError
from audiorec.search import CtcGreedySearch, conclude, search_parts
from audiorec.streaming import put, take
from audiorec.transcript import EndpointConfig, Endpointer, Hypothesis
from tests.search.searches import DIM, SEARCHES

RULES = EndpointConfig(silence=0.2, silence_after_words=0.12, longest=0.6)  # 5, 3 and 15 frames
FRAME = 0.04
LENGTHS = [90, 60, 33, 2]
BEGINS_WORD = [False, True, True, False, True, True]


def audio(seed: int) -> np.ndarray:
    """Four seconds at 8 kHz, loud and 40 dB softer in turn."""
    generator, draw = np.random.default_rng(seed), random.Random(seed)
    loudness = np.concatenate([np.full(draw.randint(80, 3000), 0.3 if i % 2 else 0.003) for i in range(60)])[:32000]
    return (loudness * generator.uniform(-1, 1, len(loudness))).astype(np.float32)


def row(seed: int = 0, config: EndpointConfig | None = RULES) -> Endpointer:
    return Endpointer(config, FRAME, Levels(8000, audio(seed)), BEGINS_WORD)


def streams() -> list[torch.Tensor]:
    """Encoder outputs with words, and with stretches in which the blank is likeliest."""
    generator, frames = torch.Generator().manual_seed(1), []
    for length in LENGTHS:
        x = 2 * torch.randn(length, DIM, generator=generator)
        for start in range(5, length, 17):
            x[start : start + 11, 0] += 6
        frames.append(x)
    return frames


def joined(parts) -> list[tuple[list, list, int | None]]:
    """(ids, frames, end) of each segment, from its parts."""
    segments, said = [], Hypothesis()
    for part in parts:
        said.extend(part.tokens)
        if part.end is not None:
            segments.append((said.ids, said.frames, part.end))
            said = Hypothesis()
    return [*segments, (said.ids, said.frames, None)]


def whole(search, x: torch.Tensor, seed: int, config=RULES) -> list:
    parts, state = search_parts(search, x[None], None, search.initial_state(1), [row(seed, config)])
    return ended(parts[0], search, state)


def ended(parts, search, state) -> list:
    (ending,) = conclude(search, state)
    *before, (ids, frames, _) = joined(parts)
    return [*before, (ids + ending.best.ids, frames + ending.best.frames, None)]


@pytest.mark.parametrize("name", SEARCHES)
def test_any_split_gives_the_segments_of_the_whole(name):
    search, rows = SEARCHES[name](), streams()
    expected = [whole(search, x, seed) for seed, x in enumerate(rows)]
    assert sum(len(segments) for segments in expected) > 8
    for trial in range(3):
        draw = random.Random(trial)
        state, hosts = search.initial_state(len(rows)), [row(seed) for seed in range(len(rows))]
        parts, at = [[] for _ in rows], [0] * len(rows)
        while live := [i for i in range(len(rows)) if at[i] < LENGTHS[i]]:
            chosen = draw.sample(live, draw.randint(1, len(live)))
            size = min(draw.choice([1, 2, 3, 9, 40]), *(LENGTHS[i] - at[i] for i in chosen))
            x = torch.stack([rows[i][at[i] : at[i] + size] for i in chosen])
            more, part = search_parts(search, x, None, take(state, chosen), [hosts[i] for i in chosen])
            state = put(state, chosen, part)
            for i, said in zip(chosen, more, strict=True):
                parts[i] += said
                at[i] += size
        assert [ended(parts[i], search, take(state, [i])) for i in range(len(rows))] == expected


@pytest.mark.parametrize("name", SEARCHES)
def test_a_ragged_batch_is_a_stack(name):
    search, rows = SEARCHES[name](), streams()
    x = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=float("nan"))
    hosts = [row(seed) for seed in range(len(rows))]
    parts, state = search_parts(search, x, LENGTHS, search.initial_state(len(rows)), hosts)
    found = [ended(parts[i], search, take(state, [i])) for i in range(len(rows))]
    assert found == [whole(search, x, seed) for seed, x in enumerate(rows)]


@pytest.mark.parametrize("name", [name for name in SEARCHES if "beam" not in name])
def test_a_greedy_search_says_the_same_words_without_segments(name):
    search = SEARCHES[name]()
    for seed, x in enumerate(streams()):
        segments, ((ids, frames, _),) = whole(search, x, seed), whole(search, x, seed, None)
        assert [i for one, _, _ in segments for i in one] == ids
        assert [f for _, one, _ in segments for f in one] == frames


def by_the_rules(ids: list[int], frames: list[int], length: int, levels: Levels) -> list[int]:
    """Where segments end, frame by frame."""
    ends, start, tokens = [], 0, dict(zip(frames, ids, strict=True))
    for now in range(1, length + 1):
        frame = now - 1
        if frame in tokens:
            before = [f for f in frames if start <= f < frame]
            if before and frame - start >= 15 and BEGINS_WORD[tokens[frame]]:
                ends.append(frame)
                start = frame
        said = [f for f in frames if f < now]
        silent = now - max(start, said[-1] + 1 if said else 0)
        levels_of = [levels.peak(4 * f, 4 * f + 4) for f in range(start, now)]
        quiet = all(level <= max(levels_of) - 20 for level in levels_of[-3:])
        if silent >= 5 or (silent >= 3 and said and said[-1] >= start and quiet):
            ends.append(now)
            start = now
    return ends


def test_the_rules_as_they_are_written_down():
    search, kinds = CtcGreedySearch(lambda x: x), set()
    for seed, x in enumerate(streams() * 5):
        *segments, _ = whole(search, x, seed)
        ((ids, frames, _),) = whole(search, x, seed, None)
        ends = by_the_rules(ids, frames, len(x), Levels(8000, audio(seed)))
        assert [end for *_, end in segments] == ends
        kinds |= {(end - max(said) if said else None) for _, said, end in segments}
    assert {None, 4, 6} <= kinds  # nothing said; words and quiet; words and noise


def test_a_setting_that_makes_no_sense_is_refused():
    for key, value in {"silence": 0, "longest": -1, "quiet_db": -3, "rule1": 2}.items():
        with pytest.raises(ConfigError, match=key):
            parse(EndpointConfig, {key: value})
