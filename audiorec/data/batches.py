"""Batches of samples and tokens from a data directory: augmented and shuffled for training, or as recorded."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from audiorec.audio.augment import AugmentConfig, augment, augment_clip
from audiorec.config import Config
from audiorec.data.cuts import append_cuts, bucket, clip_ids, make_cuts
from audiorec.data.draws import generator, seed_of
from audiorec.data.kaldi import Recordings, read_data_dir
from audiorec.data.strings import StringsConfig, draw_strings, join_clips
from audiorec.errors import UserError
from audiorec.text import Normalizer, Tokenizer

if TYPE_CHECKING:
    from lhotse.cut import Cut, CutSet


class DataConfig(Config):
    batch_seconds: PositiveFloat = Field(120.0, description="largest amount of audio in a batch")
    buckets: PositiveInt = Field(8, description="number of classes of similar duration; a batch is drawn from one")
    min_seconds: float = Field(0.1, description="shorter training utterances are left out")
    max_seconds: float = Field(30.0, description="longer training utterances are left out")
    allow_pipes: bool = Field(False, description="run the commands of wav.scp; of folders that you trust alone")
    workers: int = Field(0, ge=0, description="processes that prepare batches beside the training")
    strings: StringsConfig | None = Field(None, description="join short utterances of a speaker; off unless given")


@dataclass
class Batch:
    """samples (B, T) float32 with lengths (B,); tokens (B, S) with token_lengths (B,); B ids, texts and seeds for draws."""

    samples: Tensor
    lengths: Tensor
    tokens: Tensor
    token_lengths: Tensor
    seeds: list[int]
    ids: list[str]
    texts: list[str]

    def pin_memory(self) -> "Batch":
        """For the DataLoader: a GPU copies from pinned memory without making the program wait."""
        names = ("samples", "lengths", "tokens", "token_lengths")
        return replace(self, **{name: getattr(self, name).pin_memory() for name in names})


class SpeechData:
    """The utterances of a data directory, at one sample rate, as batches."""

    def __init__(
        self,
        folder: Path | str,
        sample_rate: int,
        tokenizer: Tokenizer,
        normalize: Normalizer,
        config: DataConfig,
        allow_empty_text: bool = False,
    ):
        self.folder = folder
        self.sample_rate = sample_rate
        self.tokenizer = tokenizer
        self.normalize = normalize
        self.config = config
        self.utterances = {
            utterance.id: utterance
            for utterance in read_data_dir(folder, allow_empty_text=allow_empty_text, allow_pipes=config.allow_pipes)
        }
        self.cuts = make_cuts(self.utterances.values())
        self.recordings = Recordings()

    def training(self, changes: AugmentConfig, seed: int, epoch: int, limit: int | None = None) -> DataLoader:
        """The batches of one epoch, a function of seed and epoch alone; or the first ``limit`` of them.

        Utterances outside data.min_seconds to data.max_seconds are left out. Raises UserError where that leaves none.
        """
        options = self.config
        cuts = [cut for cut in self.cuts.values() if options.min_seconds <= cut.duration <= options.max_seconds]
        if not cuts:
            raise UserError(
                f"{self.folder}: no utterance lasts from {options.min_seconds} to {options.max_seconds} s; "
                "change data.min_seconds or data.max_seconds"
            )
        if self.config.strings:
            utterances = [self.utterances[cut.id] for cut in cuts]
            cuts = [
                append_cuts(name, [self.cuts[clip.id] for clip in clips])
                for name, clips in draw_strings(utterances, self.config.strings, seed, epoch)
            ]
        batches = bucket(cuts, self.config.batch_seconds, self.config.buckets, True, seed_of(seed, epoch, "batches"))
        return self._loader(_Items(self, changes, seed, epoch), batches[:limit])

    def as_recorded(self) -> DataLoader:
        """The batches of all utterances, as they were recorded."""
        batches = bucket(self.cuts.values(), self.config.batch_seconds, self.config.buckets, False, 0)
        return self._loader(_Items(self, None, 0, 0), batches)

    def samples(self, cut: "Cut", changes: AugmentConfig | None, random: np.random.Generator) -> np.ndarray:
        """The samples (T,) of a cut: as recorded where ``changes`` is None."""
        clips = [self.recordings.samples(self.utterances[name], self.sample_rate) for name in clip_ids(cut)]
        if changes is None:
            return np.concatenate(clips)
        clips = [augment_clip(clip, self.sample_rate, changes, random) for clip in clips]
        strings = self.config.strings
        joined = join_clips(clips, self.sample_rate, strings, random)[0] if strings else np.concatenate(clips)
        return augment(joined, self.sample_rate, changes, random)

    def _loader(self, items: Dataset, batches: "list[CutSet]") -> DataLoader:
        # The loader's own generator: what it draws for its workers must not move the draws of the model.
        random = torch.Generator()
        return DataLoader(
            items,
            sampler=batches,
            batch_size=None,
            num_workers=self.config.workers,
            generator=random,
            pin_memory=torch.cuda.is_available(),
        )


class _Items(Dataset):
    """A set of cuts → its batch."""

    def __init__(self, data: SpeechData, changes: AugmentConfig | None, seed: int, epoch: int):
        self.data, self.changes, self.seed, self.epoch = data, changes, seed, epoch

    def __getitem__(self, cuts: "CutSet") -> Batch:
        data, samples, tokens, texts = self.data, [], [], []
        for cut in cuts:
            random = generator(self.seed, self.epoch, cut.id)
            samples.append(torch.from_numpy(data.samples(cut, self.changes, random)))
            texts.append(data.normalize(" ".join(data.utterances[name].text for name in clip_ids(cut))))
            tokens.append(torch.tensor(data.tokenizer.encode(texts[-1]), dtype=torch.int64))
        return Batch(
            samples=torch.nn.utils.rnn.pad_sequence(samples, batch_first=True),
            lengths=torch.tensor([len(row) for row in samples]),
            tokens=torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True),
            token_lengths=torch.tensor([len(row) for row in tokens]),
            seeds=[seed_of(self.seed, self.epoch, f"features of {cut.id}") for cut in cuts],
            ids=[cut.id for cut in cuts],
            texts=texts,
        )
