"""Strings: short utterances of one speaker joined to a longer one, drawn anew each epoch."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from pydantic import Field

from audiorec.config import Config
from audiorec.data.draws import generator
from audiorec.data.kaldi import Utterance


class StringsConfig(Config):
    clips: tuple[int, int] = Field((1, 7), description="utterances in a string, drawn evenly")
    gap: tuple[float, float] = Field((0.1, 0.4), description="seconds between, before and after them, drawn evenly")
    noise_db: tuple[float, float] = Field((-75.0, -50.0), description="level of the faint noise in the gaps")
    repeats: float = Field(
        0.0,
        ge=0,
        le=1,
        description="probability that an utterance follows one with the same text, apart from chance",
    )


def draw_strings(
    utterances: Iterable[Utterance], config: StringsConfig, seed: int, epoch: int
) -> list[tuple[str, list[Utterance]]]:
    """(id, clips) of every string of an epoch: each utterance stands in exactly one, beside others of its speaker."""
    speakers: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        speakers[utterance.speaker].append(utterance)
    strings: list[tuple[str, list[Utterance]]] = []
    for speaker, clips in sorted(speakers.items()):
        random = generator(seed, epoch, f"strings of {speaker}")
        order = _repeat_words(random.permutation(len(clips)).tolist(), clips, config.repeats, random)
        while order:
            count = random.integers(config.clips[0], config.clips[1] + 1)
            chosen, order = order[:count], order[count:]
            strings.append((f"{speaker}-{epoch}-{len(strings):05d}", [clips[i] for i in chosen]))
    return strings


def _repeat_words(order: list[int], clips: list[Utterance], share: float, random: np.random.Generator) -> list[int]:
    """The order changed at a share of places: there the next clip with the text of the clip before it comes first, if any."""
    placed: list[int] = []
    while order:
        at = 0
        if share and placed and random.random() < share:
            text = clips[placed[-1]].text
            at = next((i for i, clip in enumerate(order) if clips[clip].text == text), 0)
        placed.append(order.pop(at))
    return placed


def join_clips(
    clips: list[np.ndarray], sample_rate: int, config: StringsConfig, random: np.random.Generator
) -> tuple[np.ndarray, list[int]]:
    """Clips (T,) joined to one string (T,), with random gaps of faint noise before, between and after them; float32.

    Returns the string and the index of each clip's first sample in it.
    """
    noise = 10 ** (random.uniform(*config.noise_db) / 20)
    parts, starts = [_gap(sample_rate, config, noise, random)], []
    for clip in clips:
        starts.append(sum(map(len, parts)))
        parts += [clip, _gap(sample_rate, config, noise, random)]
    return np.concatenate(parts), starts


def _gap(sample_rate: int, config: StringsConfig, noise: float, random: np.random.Generator) -> np.ndarray:
    size = round(random.uniform(*config.gap) * sample_rate)
    return random.standard_normal(size, dtype=np.float32) * np.float32(noise)
