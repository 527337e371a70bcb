"""Utterances as they would sound in a room, in noise, on the telephone: a function of (seed, utterance, changes) alone."""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from audiorec.audio.augment import AugmentConfig, Draw, augment
from audiorec.data.copies import Made
from audiorec.data.draws import generator
from audiorec.data.durations import sample_rate
from audiorec.data.kaldi import Recordings
from audiorec.data.sounds import draws_of
from audiorec.data.utterance import Utterance
from audiorec.errors import UserError
from audiorec.progress import progress

SILENT = 1e-4  # root mean square, −80 dB of full scale: so soft is what a codec leaves of silence
TRIES = 100


def degraded(utterances: Sequence[Utterance], changes: AugmentConfig, seed: int) -> Iterator[Made]:
    """Each utterance with ``changes``, at its recording's own rate. Noise that is silent where it was drawn is drawn again.

    Raises UserError for audio that cannot be read, patterns without a file, and noise without a sound.
    """
    recordings = Recordings()
    rate_of = cache(sample_rate)

    @cache
    def draws(rate: int) -> dict[str, Draw]:
        found = draws_of(changes, rate, utterances, recordings)
        return {kind: _sounding(draw) if kind == "noise" else draw for kind, draw in found.items()}

    with progress("degrading", len(utterances)) as advance:
        for utterance in utterances:
            rate = rate_of(utterance.path)
            samples, random = recordings.samples(utterance, rate), generator(seed, 0, utterance.id)
            yield utterance, augment(samples, rate, changes, random, draws(rate)), rate
            advance(1)


def _sounding(draw: Draw) -> Draw:
    def drawn(size: int, random: np.random.Generator) -> np.ndarray:
        for _ in range(TRIES):
            noise = draw(size, random)
            if np.sqrt(np.mean(np.square(noise))) > SILENT:
                return noise
        raise UserError(f"noise: silent in {TRIES} places that were drawn; give other recordings")

    return drawn
