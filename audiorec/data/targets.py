"""What a head learns from an utterance: its ``Task``. A batch has the targets of each task of its model."""

from collections.abc import Collection, Sequence
from math import ceil
from pathlib import Path
from typing import ClassVar, NamedTuple

from torch import Tensor

from audiorec.data.kaldi import read_data_dir
from audiorec.data.utterance import Stretch, Utterance
from audiorec.errors import UserError
from audiorec.text import BLANK, Tokenizer


class Example(NamedTuple):
    """A row of a batch as its tasks see it: the normalised text; its labels, in samples, and how many samples there are; samples
    a frame of the model."""

    text: str
    labels: Sequence[Stretch]
    size: int
    stride: int


class Targets(NamedTuple):
    """Of one task: values (B, S) int64, zeros past lengths (B,)."""

    values: Tensor
    lengths: Tensor


class Task:
    """Learns the tokens of the text; others override. Those of one ``name`` are one task, whose targets are made once."""

    name: ClassVar[str] = "text"
    needs_text: ClassVar[bool] = True  # whether a data directory without texts is of no use

    def words(self, utterance: Utterance) -> str:
        """What a tokenizer learns of an utterance."""
        return utterance.text

    def targets(self, example: Example, tokenizer: Tokenizer) -> list[int]:
        """What the head learns of a row."""
        return tokenizer.encode(example.text)


class FramesTask(Task):
    """Learns the label in the middle of each frame, blank where there is none."""

    name = "frames"
    needs_text = False

    def words(self, utterance: Utterance) -> str:
        return " ".join(stretch.label for stretch in utterance.labels)

    def targets(self, example: Example, tokenizer: Tokenizer) -> list[int]:
        frames = [BLANK] * ceil(example.size / example.stride)
        for start, end, label in example.labels:
            ids = tokenizer.encode(label)
            if len(ids) != 1:
                raise UserError(f"label {label!r}: is not one word to the tokenizer: name it otherwise in `labels`")
            first, after = (min(max(ceil(at / example.stride - 0.5), 0), len(frames)) for at in (start, end))
            frames[first:after] = ids * (after - first)
        return frames


TEXT, FRAMES = Task(), FramesTask()


def tokenizer_texts(
    folder: Path, tasks: Collection[Task], allow_empty_text: bool = True, allow_pipes: bool = True
) -> list[str]:
    """What a tokenizer of a model with these tasks learns from a data directory. No command of wav.scp is run."""
    needs_text = any(task.needs_text for task in tasks)
    utterances = read_data_dir(folder, needs_text, allow_empty_text, allow_pipes)
    return [task.words(utterance) for utterance in utterances for task in tasks]
