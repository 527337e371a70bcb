"""Batches of samples and tokens from a data directory: augmented and shuffled for training, or as recorded."""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from audiorec.audio.augment import AugmentConfig, Draw, augment, augment_clip
from audiorec.config import Config
from audiorec.data.buckets import bucket, padding
from audiorec.data.draws import generator, seed_of
from audiorec.data.durations import utterance_seconds
from audiorec.data.kaldi import Recordings, Utterance, read_data_dir
from audiorec.data.sounds import draws_of
from audiorec.data.strings import StringsConfig, draw_strings, join_clips
from audiorec.data.targets import TEXT, Example, Targets, Task
from audiorec.data.utterance import Stretch
from audiorec.errors import UserError
from audiorec.text import UNKNOWN, Normalizer, Tokenizer

NAMED = 10  # utterances left out that are named
logger = logging.getLogger("audiorec")


class DataConfig(Config):
    batch_seconds: PositiveFloat = Field(120.0, description="largest amount of audio in a batch, padding included")
    buckets: PositiveInt = Field(8, description="number of classes of similar duration; a batch is drawn from one")
    min_seconds: float = Field(0.1, description="shorter training utterances are left out")
    max_seconds: float = Field(30.0, description="longer training utterances are left out")
    skip_bad: bool = Field(
        False, description="leave out, and name, utterances whose audio cannot be used, instead of ending"
    )
    allow_pipes: bool = Field(False, description="run the commands of wav.scp; of folders that you trust alone")
    cache_gb: PositiveFloat = Field(1.0, description="decoded audio that is kept: an hour at 16 kHz takes 0.23")
    workers: int | None = Field(
        None, ge=0, description="processes that prepare batches beside the training; null: as many as cores are spare"
    )
    strings: StringsConfig | None = Field(None, description="join short utterances of a speaker; off unless given")


@dataclass
class Batch:
    """samples (B, T) float32 with lengths (B,); targets by the name of their task; B ids, texts and seeds for draws."""

    samples: Tensor
    lengths: Tensor
    targets: dict[str, Targets]
    seeds: list[int]
    ids: list[str]
    texts: list[str]

    def pin_memory(self) -> "Batch":
        """For the DataLoader: a GPU copies from pinned memory without making the program wait."""
        targets = {name: Targets(*(tensor.pin_memory() for tensor in own)) for name, own in self.targets.items()}
        return replace(self, samples=self.samples.pin_memory(), lengths=self.lengths.pin_memory(), targets=targets)


class Row(NamedTuple):
    """A row of a batch: an utterance, or several that are joined."""

    id: str
    clips: Sequence[Utterance]


class SpeechData:
    """The utterances of a data directory, at one sample rate, as batches with the targets of ``tasks`` of a model with a frame
    every ``stride`` samples. ``seconds`` says how long each utterance is.

    Raises UserError that counts and names utterances without usable audio; with ``config.skip_bad`` they are left out.
    """

    def __init__(
        self,
        folder: Path | str,
        sample_rate: int,
        tokenizer: Tokenizer,
        normalize: Normalizer,
        config: DataConfig,
        allow_empty_text: bool = False,
        tasks: Collection[Task] = (TEXT,),
        stride: int = 1,
    ):
        self.folder = folder
        self.sample_rate = sample_rate
        self.tokenizer = tokenizer
        self.normalize = normalize
        self.config = config
        self.tasks = tasks
        self.stride = stride
        found = read_data_dir(
            folder,
            require_text=any(task.needs_text for task in tasks),
            allow_empty_text=allow_empty_text,
            allow_pipes=config.allow_pipes,
        )
        self.seconds = _usable(folder, found, config.skip_bad)
        self.utterances = {utterance.id: utterance for utterance in found if utterance.id in self.seconds}
        self.workers = config.workers or 0
        self.recordings = Recordings(round(config.cache_gb * 10**9), shared=self.workers > 1)
        self._loaders = {augmented: Loader(self) for augmented in (True, False)}
        self._drawn: tuple[AugmentConfig, dict[str, Draw]] | None = None

    def __getstate__(self) -> dict:  # for workers that are spawned
        return {**vars(self), "_loaders": {}}

    def training(
        self,
        changes: AugmentConfig,
        seed: int,
        epoch: int,
        limit: int | None = None,
        done: int = 0,
        share: tuple[int, int] = (0, 1),
    ) -> DataLoader:
        """The batches of one epoch, a function of seed and epoch alone; or the first ``limit`` of them.

        The loader is the same for every epoch, so that its workers are started once. It counts all batches, and gives those
        after the first ``done``. Of several processes, rank r of n has ``share`` (r, n): every n-th batch of one list, as many
        as the others; what is left over is for another epoch.
        Utterances outside data.min_seconds to data.max_seconds are left out. Raises UserError where that leaves none, and where
        ``changes`` name files that are not there.
        """
        options = self.config
        self._draws(changes)  # in this process, so that workers have it and errors come at once
        chosen = [
            u for u in self.utterances.values() if options.min_seconds <= self.seconds[u.id] <= options.max_seconds
        ]
        if self.tokenizer.skips_unknown:
            chosen = [u for u in chosen if UNKNOWN not in self.tokenizer.encode(self.normalize(u.text))]
        if not chosen:
            raise UserError(
                f"{self.folder}: no utterance lasts from {options.min_seconds} to {options.max_seconds} s; "
                "change data.min_seconds or data.max_seconds"
            )
        if options.strings:
            rows = [Row(name, clips) for name, clips in draw_strings(chosen, options.strings, seed, epoch)]
        else:
            rows = [Row(utterance.id, (utterance,)) for utterance in chosen]
        batches = self._batches(rows, generator(seed, epoch, "batches"))
        rank, ranks = share
        if len(batches) < ranks:
            raise UserError(
                f"{self.folder}: {len(batches)} batches an epoch for {ranks} processes; lower data.batch_seconds, or "
                "trainer.devices"
            )
        batches = batches[: len(batches) // ranks * ranks][rank::ranks]
        return self._loaders[True].order([Drawn(batch, changes, seed, epoch) for batch in batches[:limit]], done)

    def as_recorded(self, share: tuple[int, int] = (0, 1)) -> DataLoader:
        """The batches of all utterances, as they were recorded; of rank r of n every n-th, perhaps none."""
        rank, ranks = share
        rows = [Row(utterance.id, (utterance,)) for utterance in self.utterances.values()]
        return self._loaders[False].order(
            [Drawn(batch, None, 0, 0) for batch in self._batches(rows, None)[rank::ranks]]
        )

    def samples(
        self, row: Row, changes: AugmentConfig | None, random: np.random.Generator
    ) -> tuple[np.ndarray, list[Stretch]]:
        """The samples (T,) of a row, as recorded where ``changes`` is None, and its labels in samples, which move with them."""
        rate, strings = self.sample_rate, self.config.strings
        clips = [self.recordings.samples(utterance, rate) for utterance in row.clips]
        if changes is not None:
            clips = [augment_clip(clip, rate, changes, random) for clip in clips]
        if changes is not None and strings:
            joined, starts = join_clips(clips, rate, strings, random)
        else:
            joined, starts = np.concatenate(clips), [0, *accumulate(map(len, clips))]
        samples = joined if changes is None else augment(joined, rate, changes, random, self._draws(changes))
        speed = len(samples) / len(joined)
        labels = [
            Stretch((at + start * rate) * speed, (at + end * rate) * speed, label)
            for utterance, at in zip(row.clips, starts, strict=False)
            for start, end, label in utterance.labels
        ]
        return samples, labels

    def _draws(self, changes: AugmentConfig) -> dict[str, Draw]:
        """What the changes draw from recordings; kept, as it knows its files and rooms."""
        if self._drawn is None or self._drawn[0] != changes:
            utterances = list(self.utterances.values())
            self._drawn = changes, draws_of(changes, self.sample_rate, utterances, self.recordings)
        return self._drawn[1]

    def _batches(self, rows: list[Row], random: np.random.Generator | None) -> list[list[Row]]:
        seconds = [sum(self.seconds[utterance.id] for utterance in row.clips) for row in rows]
        batches = bucket(seconds, self.config.batch_seconds, self.config.buckets, random)
        logger.debug("%s: %d batches, %.1f %% padding", self.folder, len(batches), 100 * padding(seconds, batches))
        return [[rows[i] for i in batch] for batch in batches]


class Drawn(NamedTuple):
    """The rows of a batch, and what its draws are a function of."""

    rows: list[Row]
    changes: AugmentConfig | None
    seed: int
    epoch: int


class Loader(DataLoader):
    """Batches in the order last given, by workers that are started once."""

    def __init__(self, data: SpeechData):
        self._rest = _Rest()
        super().__init__(
            _Items(data),
            sampler=self._rest,
            batch_size=None,
            num_workers=data.workers,
            persistent_workers=data.workers > 0,
            generator=torch.Generator(),  # its own: what it draws for its workers must not move the draws of the model
            pin_memory=torch.cuda.is_available(),
        )

    def order(self, batches: list[Drawn], done: int = 0) -> "Loader":
        """This loader, which gives these batches after the first ``done``, and counts all."""
        self._rest.batches, self._rest.done = batches, done
        return self


class _Rest:
    """The batches after the first ``done``; their number is that of all, as Lightning counts an epoch that goes on.

    It has no ``set_epoch``, which Lightning would call, and in another way when a run is resumed.
    """

    def __init__(self) -> None:
        self.batches: list[Drawn] = []
        self.done = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Drawn]:
        return iter(self.batches[self.done :])


class _Items(Dataset):
    """Drawn rows → their batch."""

    def __init__(self, data: SpeechData):
        self.data = data

    def __getitem__(self, drawn: Drawn) -> Batch:
        rows, changes, seed, epoch = drawn
        data, kept, samples, examples = self.data, [], [], []
        for row in rows:
            random = generator(seed, epoch, row.id)
            try:
                audio, labels = data.samples(row, changes, random)
            except UserError as error:
                if not data.config.skip_bad:
                    raise
                logger.warning("%s is left out: %s", row.id, error)
                continue
            kept.append(row)
            samples.append(torch.from_numpy(audio))
            text = data.normalize(" ".join(utterance.text for utterance in row.clips))
            labels = [label._replace(label=data.normalize(label.label)) for label in labels]
            examples.append(Example(text, labels, len(audio), data.stride))
        if not kept:
            raise UserError(f"{data.folder}: no audio of a batch can be used: {', '.join(row.id for row in rows)}")
        return Batch(
            samples=torch.nn.utils.rnn.pad_sequence(samples, batch_first=True),
            lengths=torch.tensor([len(row) for row in samples]),
            targets={task.name: _targets(task, examples, data.tokenizer) for task in data.tasks},
            seeds=[seed_of(seed, epoch, f"features of {row.id}") for row in kept],
            ids=[row.id for row in kept],
            texts=[example.text for example in examples],
        )


def _targets(task: Task, examples: list[Example], tokenizer: Tokenizer) -> Targets:
    rows = [torch.tensor(task.targets(example, tokenizer), dtype=torch.int64) for example in examples]
    return Targets(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows]))


def _usable(folder: Path | str, utterances: list[Utterance], skip_bad: bool) -> dict[str, float]:
    """Utterance → its seconds, of those whose audio can be used."""
    seconds, bad = utterance_seconds(folder, utterances)
    if not bad:
        return seconds
    some = "; ".join(f"{name}: {why}" for name, why in list(bad.items())[:NAMED])
    more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    what = f"{folder}: {len(bad)} of {len(utterances)} utterances have no usable audio"
    if not skip_bad:
        name, why = next(iter(bad.items()))
        raise UserError(
            f"{what}, such as {name}: {why} (all: `audiorec data validate {folder}`); "
            "mend them, or leave them out with data.skip_bad=true"
        )
    if not seconds:
        raise UserError(f"{what}: {some}{more}")
    logger.warning("%s and are left out: %s%s", what, some, more)
    return seconds
