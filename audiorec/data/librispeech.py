"""LibriSpeech's own form: ``SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac`` beside ``SPEAKER-CHAPTER.trans.txt``."""

from pathlib import Path

from audiorec.data.kaldi import Utterance
from audiorec.errors import UserError


def read_librispeech(folder: Path) -> list[Utterance]:
    """The utterances of a part (``LibriSpeech/train-clean-5``). Raises UserError where it holds no transcripts."""
    utterances = []
    for transcripts in sorted(folder.glob("*/*/*.trans.txt")):
        for line in transcripts.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(" ")
            path = transcripts.parent / f"{name}.flac"
            utterances.append(Utterance(name, name, path, 0.0, None, text, transcripts.parts[-3]))
    if not utterances:
        raise UserError(f"{folder}: holds no transcripts SPEAKER/CHAPTER/*.trans.txt; fetch the corpus again")
    return utterances
