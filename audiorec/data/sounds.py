"""What augmentation takes from recordings: noise, music, babble, rooms. Each draw comes from the generator given."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiorec.audio.augment import AugmentConfig, Draw
from audiorec.audio.rooms import draw_room
from audiorec.data.corpora import find_corpus
from audiorec.data.kaldi import Recordings, Utterance
from audiorec.errors import UserError

AUDIO = {".wav", ".flac", ".ogg", ".opus", ".mp3"}


def draws_of(
    config: AugmentConfig, sample_rate: int, utterances: Sequence[Utterance], recordings: Recordings
) -> dict[str, Draw]:
    """What `audiorec.audio.augment.augment` draws for ``config``; babble is of ``utterances``.

    Raises UserError for a pattern without a file.
    """
    draws: dict[str, Draw] = {}
    for kind in ("noise", "music"):
        if options := getattr(config, kind):
            draws[kind] = _Pieces(_files(config.recordings, options.files), sample_rate, recordings)
    if options := config.room:
        files = _files(config.recordings, options.files) if options.files else []
        draws["room"] = _Rooms(files, options.simulated, options.seconds, sample_rate, recordings)
    if options := config.babble:
        draws["babble"] = _Babble(utterances, options.voices, sample_rate, recordings)
    return draws


def _files(place: Path, patterns: Sequence[str]) -> list[Path]:
    folder = place if place.is_dir() else find_corpus(str(place))
    found: set[Path] = set()
    for pattern in patterns:
        paths = [path for path in folder.glob(pattern) if path.suffix.lower() in AUDIO]
        if not paths:
            raise UserError(
                f"{folder}: no audio file is called {pattern}; change augment's files (--noise-files) or augment.recordings "
                "(--noise)"
            )
        found.update(paths)
    return sorted(found)


# Classes and not functions: a worker that is spawned gets them pickled.


@dataclass
class _Pieces:
    """From a drawn place of a drawn file, which begins anew where it ends."""

    files: list[Path]
    sample_rate: int
    recordings: Recordings

    def __call__(self, size: int, random: np.random.Generator) -> np.ndarray:
        whole = self.recordings.decoded(self.files[random.integers(len(self.files))], self.sample_rate)
        return _from_a_place(whole, size, random)


@dataclass
class _Rooms:
    """The impulse response of a file, or of a drawn room."""

    files: list[Path]
    simulated: float
    seconds: tuple[float, float]
    sample_rate: int
    recordings: Recordings

    def __call__(self, _: int, random: np.random.Generator) -> np.ndarray:
        if not self.files or random.random() < self.simulated:
            return draw_room(self.sample_rate, random.uniform(*self.seconds), random)
        return self.recordings.decoded(self.files[random.integers(len(self.files))], self.sample_rate)


@dataclass
class _Babble:
    """Drawn utterances at once, as loud as one another, each from a drawn place in it."""

    utterances: Sequence[Utterance]
    voices: tuple[int, int]
    sample_rate: int
    recordings: Recordings

    def __call__(self, size: int, random: np.random.Generator) -> np.ndarray:
        total = np.zeros(size, np.float32)
        for i in random.integers(len(self.utterances), size=random.integers(self.voices[0], self.voices[1] + 1)):
            voice = _from_a_place(self.recordings.samples(self.utterances[i], self.sample_rate), size, random)
            total += voice / np.float32(np.sqrt(np.mean(np.square(voice))) or 1.0)
        return total


def _from_a_place(samples: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    start = random.integers(len(samples))
    return samples.take(np.arange(start, start + size), mode="wrap")
