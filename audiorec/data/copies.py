"""Data directories with audio of their own, made from others."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np

from audiorec.audio.read import write
from audiorec.data.kaldi import write_data_dir
from audiorec.data.utterance import Utterance
from audiorec.errors import UserError
from audiorec.files import replacing_folder

Made = tuple[Utterance, np.ndarray, int]  # an utterance, its new samples (T,) and their rate


def unclipped(samples: np.ndarray) -> np.ndarray:
    """The samples (T,), all made softer where some are louder than full scale, which files of integers cannot hold."""
    return samples / np.float32(max(1.0, np.abs(samples).max()))


def write_copy(out: Path, made: Iterable[Made]) -> int:
    """Write utterances with their samples, a flac file each, as the data directory ``out``, whole or not at all; how many.

    Samples louder than full scale are all made softer, so that none is clipped. Raises UserError where ``out`` is there.
    """
    if out.exists():
        raise UserError(f"{out}: is there already; remove it, or name another folder")
    with replacing_folder(out) as folder:
        (folder / "audio").mkdir()
        written = []
        for utterance, samples, rate in made:
            path = folder / "audio" / f"{quote(utterance.id, safe='')}.flac"
            write(path, unclipped(samples), rate)
            written.append(replace(utterance, recording=utterance.id, path=path, start=0.0, end=None, channel=None))
        write_data_dir(folder, written)
    return len(written)
