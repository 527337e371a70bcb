"""Recordings that lie in tar files: each is named by its archive and by the place of its first byte there."""

import os
import tarfile
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from audiorec.audio.file import NamedBytes
from audiorec.errors import UserError

BLOCK = tarfile.BLOCKSIZE  # bytes: a header has one, and what follows begins at a multiple of it
OPEN = 128  # archives that a process keeps open; systems allow 1024 files and more, other libraries take some


class Archives:
    """Files of which parts are read, by their place; the few used last stay open.

    A worker that is forked shares them, for no position is moved; a worker that is spawned opens its own.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[Path, int] = OrderedDict()
        weakref.finalize(self, _close, self._open)

    def __reduce__(self) -> tuple:
        return Archives, ()

    def read(self, path: Path, start: int, size: int) -> bytes:
        """So many bytes from ``start``, fewer where the file ends. Raises OSError."""
        if path not in self._open:
            self._open[path] = os.open(path, os.O_RDONLY)
            if len(self._open) > OPEN:
                os.close(self._open.popitem(last=False)[1])
        self._open.move_to_end(path)
        pieces = []
        while size > 0 and (piece := os.pread(self._open[path], size, start)):  # Linux gives 2 GiB at once, and no more
            pieces.append(piece)
            start, size = start + len(piece), size - len(piece)
        return b"".join(pieces)


def _close(files: dict[Path, int]) -> None:
    while files:
        os.close(files.popitem()[1])


@dataclass(frozen=True)
class Member:
    """A file in a tar file, ``archive.tar:OFFSET`` in wav.scp as Kaldi writes places in its own archives.

    Its bytes begin at ``offset``; the block before is its header, which has its name and size.
    """

    archive: Path
    offset: int

    def __str__(self) -> str:
        return f"{self.archive}:{self.offset}"

    def open(self, archives: Archives | None = None) -> NamedBytes:
        """All of it, named for messages."""
        name, content = self.read(archives)
        return NamedBytes(content, f"{self} ({name})")

    def read(self, archives: Archives | None = None) -> tuple[str, bytes]:
        """Its name in the archive and its bytes.

        Raises UserError where the archive cannot be read or is cut short, and where no file of it begins at the offset.
        """
        archives = archives or Archives()
        try:
            placed = self.offset >= BLOCK and self.offset % BLOCK == 0
            block = archives.read(self.archive, self.offset - BLOCK, BLOCK) if placed else b""
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            content = archives.read(self.archive, self.offset, info.size)
        except OSError as error:
            raise UserError(f"{self.archive}: cannot be read: {error.strerror}") from None
        except tarfile.HeaderError:
            beyond = missing({"": self})
            raise UserError(beyond[""] if beyond else f"{self}: {_NOTHING}") from None
        if len(content) < info.size:
            raise UserError(f"{self} ({info.name}): {len(content)} of {info.size} bytes are there: {_CUT}")
        if not content:
            raise UserError(f"{self} ({info.name}): an empty file")
        return info.name, content


_NOTHING = "no file of the archive begins there: the tar is damaged, or another than wav.scp was written for"
_CUT = "the archive is cut short; fetch or make it again"


def missing(members: Mapping[str, Member]) -> dict[str, str]:
    """Of named members those whose archive is not there, or ends before them, and why. It looks at archives, not into them."""
    sizes: dict[Path, int | str] = {}
    bad = {}
    for name, member in members.items():
        archive = member.archive
        if archive not in sizes:
            try:
                sizes[archive] = os.stat(archive).st_size
            except OSError as error:
                sizes[archive] = f"{archive}: cannot be read: {error.strerror}"
        size = sizes[archive]
        if isinstance(size, str):
            bad[name] = size
        elif member.offset >= size:
            bad[name] = f"{member}: {_CUT}"
    return bad
