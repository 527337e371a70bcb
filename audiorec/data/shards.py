"""Data directories whose audio lies in tar files: a few large files are read sooner than millions of small ones."""

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from audiorec.audio.read import write
from audiorec.data.copies import unclipped
from audiorec.data.durations import sample_rate
from audiorec.data.kaldi import Recordings, write_data_dir
from audiorec.data.tables import DURATIONS
from audiorec.data.tar import BLOCK, Member
from audiorec.data.utterance import Pipe, Utterance
from audiorec.errors import UserError
from audiorec.files import replacing_folder, write_text
from audiorec.progress import progress

COUNT = 1000  # utterances in a tar file


class _Encoded(NamedTuple):
    utterance: Utterance
    suffix: str
    content: bytes


def write_shards(
    out: Path,
    utterances: Sequence[Utterance],
    seconds: Mapping[str, float],
    format: str = "flac",
    count: int | None = COUNT,
    megabytes: float | None = None,
) -> int:
    """Write utterances as the data directory ``out``, their audio in audio.000000.tar, audio.000001.tar, …; how many tar files.

    One is full with ``count`` utterances, and before its audio is more than so many ``megabytes``; None: never. It holds
    ID.flac (or wav, opus) of each utterance, and ID.txt where that has a text, ids being percent-encoded as in a URL, dots too.
    These formats are of 16 bits, at a recording's own rate; ``copy`` is recordings as they are. ``seconds`` of each utterance go
    to utt2dur and reco2dur, so batches are those of the former folder, and nobody opens a header.

    The folder appears whole or not at all. Raises UserError where it is there, for audio that cannot be read, and with
    ``copy`` for segments and commands.
    """
    if out.exists():
        raise UserError(f"{out}: is there already; remove it, or name another folder")
    written: list[Utterance] = []
    archives = 0
    try:
        with replacing_folder(out) as folder, progress("utterances put into tar files", len(utterances)) as advance:
            made = _copied(utterances) if format == "copy" else _encoded(utterances, folder / f".utterance.{format}")
            for number, group in groupby(_numbered(made, count, megabytes), key=lambda item: item[0]):
                archive = folder / f"audio.{number:06d}.tar"
                with (
                    open(archive, "wb") as file,
                    tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar,
                ):
                    for _, (utterance, suffix, content) in group:
                        key = quote(utterance.id, safe="").replace(".", "%2E")  # webdataset ends a key at its first dot
                        place = Member(archive, _add(tar, file, f"{key}{suffix}", content))
                        if utterance.text:
                            _add(tar, file, f"{key}.txt", utterance.text.encode())
                        written.append(replace(utterance, recording=utterance.id, path=place, start=0.0, end=None))
                        advance(1)
                archives += 1
            write_data_dir(folder, written)
            for name in DURATIONS:
                write_text(folder / name, "".join(f"{u.id} {seconds[u.id]!r}\n" for u in written))
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from error
    return archives


def _add(tar: tarfile.TarFile, file: io.BufferedWriter, name: str, content: bytes) -> int:
    """Add a file to a tar file; where its bytes begin. No time and no owner: the same files give the same tar."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
    return file.tell() - -(-len(content) // BLOCK) * BLOCK


def _encoded(utterances: Iterable[Utterance], aside: Path) -> Iterator[_Encoded]:
    recordings, rate_of = Recordings(), lru_cache(maxsize=64)(sample_rate)
    for utterance in utterances:
        rate = rate_of(utterance.path)
        write(aside, unclipped(recordings.samples(utterance, rate)), rate)
        yield _Encoded(replace(utterance, channel=None), aside.suffix, aside.read_bytes())
    aside.unlink(missing_ok=True)


def _copied(utterances: Iterable[Utterance]) -> Iterator[_Encoded]:
    for utterance in utterances:
        path = utterance.path
        if utterance.start or utterance.end is not None:
            raise UserError(f"utterance {utterance.id!r}: is a segment, which no copy cuts out: choose --format flac")
        if isinstance(path, Pipe):
            raise UserError(f"recording {utterance.recording!r} is a command, no file to copy: choose --format flac")
        try:
            name, content = path.read() if isinstance(path, Member) else (path.name, path.read_bytes())
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        yield _Encoded(utterance, Path(name).suffix.lower(), content)


def _numbered(made: Iterable[_Encoded], count: int | None, megabytes: float | None) -> Iterator[tuple[int, _Encoded]]:
    """Each with the number of its tar file."""
    number = held = size = 0
    for one in made:
        size += len(one.content)
        if held and (held == count or (megabytes and size > megabytes * 10**6)):
            number, held, size = number + 1, 0, len(one.content)
        held += 1
        yield number, one
