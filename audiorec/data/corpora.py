"""Where corpora are: under ``$AUDIOREC_DATA``, as a folder or as a tar archive that is unpacked once, or at their public home."""

import gzip
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from audiorec.errors import UserError
from audiorec.progress import progress

HOMES = {
    "mini_librispeech": (
        "https://www.openslr.org/resources/31/train-clean-5.tar.gz",
        "https://www.openslr.org/resources/31/dev-clean-2.tar.gz",
    ),
    "librispeech": tuple(
        f"https://www.openslr.org/resources/12/{part}.tar.gz"
        for part in ("train-clean-100", "dev-clean", "test-clean", "test-other")
    ),
    "speech_commands": ("http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",),
    "an4": ("https://dldata-public.s3.us-east-2.amazonaws.com/an4_sphere.tar.gz",),
    "yesno": ("https://www.openslr.org/resources/1/waves_yesno.tar.gz",),
}
# What has to be put there by hand: the file or files, and where they come from.
BY_HAND = {
    "lexicon": "cmudict.dict of https://github.com/cmusphinx/cmudict",
    "books": "text files, one sentence a line (https://www.gutenberg.org has books; none that dev or test read)",
}
ARCHIVES = (".tar", ".tar.xz")


def find_corpus(name: str, cache: Path | str = ".cache") -> Path:
    """The folder of a corpus: ``$AUDIOREC_DATA/NAME``, ``NAME.tar`` or ``NAME.tar.xz`` there, or a download from its public home.

    Archives are unpacked into ``cache``, once. Raises UserError that names the file to put, and where.
    """
    home, unpacked = os.environ.get("AUDIOREC_DATA"), Path(cache) / name
    if home and (folder := Path(home) / name).is_dir():
        return folder
    if unpacked.is_dir():
        return unpacked
    archive = next((path for end in ARCHIVES if home and (path := Path(home) / f"{name}{end}").is_file()), None)
    if archive:
        _unpack([archive], unpacked, inner=name)
    elif name in HOMES:
        fetched = [_fetch(url, unpacked.parent, name) for url in HOMES[name]]
        _unpack(fetched, unpacked)
        for archive in fetched:
            archive.unlink()
    else:
        content = f", which holds {BY_HAND[name]}" if name in BY_HAND else ""
        if not home:
            raise UserError(f"corpus {name}: set AUDIOREC_DATA to the folder that has {name}/ or {name}.tar{content}")
        raise UserError(f"corpus {name}: neither {folder} nor {folder}.tar is there; put one of them there{content}")
    return unpacked


def _unpack(archives: Iterable[Path], out: Path, inner: str = "") -> None:
    """Unpack the archives, or their folder ``inner`` alone, as the folder ``out``: whole or not at all."""
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        for archive in archives:
            try:
                with archive.open("rb") as file, tarfile.open(fileobj=file) as tar:
                    # Python has it since 3.10.12 and 3.11.4.
                    tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
                    tar.extractall(part, _with_progress(tar, file))
                    _check_end(tar)
            except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
                reason = str(error).splitlines()[0].rstrip(":")
                raise UserError(
                    f"{archive}: not a tar archive, or damaged ({reason}); remove it and fetch it again"
                ) from None
            if not (part / inner).is_dir():
                raise UserError(f"{archive}: holds no folder {inner}/")
        (part / inner).rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _with_progress(tar: tarfile.TarFile, file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """The members of an archive, while a bar shows how much of its file is read."""
    done = 0
    with progress(f"unpacking {file.name} (MB)", os.fstat(file.fileno()).st_size // 10**6) as advance:
        for member in tar:
            yield member
            read = file.tell() // 10**6
            advance(read - done)
            done = read


def _check_end(tar: tarfile.TarFile) -> None:
    """Raise where the zeros are missing that end an archive: one cut off between two members reads without an error."""
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("cut off before its end")
    while tar.fileobj.read(2**20):  # to the checksum that ends a compressed one
        pass


def _fetch(url: str, folder: Path, name: str) -> Path:
    archive = folder / url.rsplit("/", 1)[1]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if not archive.exists():
            download(url, archive)
    except OSError as error:
        raise UserError(
            f"corpus {name}: {url} cannot be fetched ({error}); try again, or set AUDIOREC_DATA to the folder that holds "
            f"{name}/ or {name}.tar"
        ) from None
    return archive


def download(url: str, path: Path) -> None:
    """Fetch a file, which appears whole; what an earlier call left beside it is continued. Raises OSError."""
    part = path.with_name(f"{path.name}.part")
    begun = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={begun}-"} if begun else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            begun = begun if reply.status == 206 else 0  # a server may send it all again
            total = begun + int(reply.headers["Content-Length"] or 0)
            with part.open("ab" if begun else "wb") as file, progress(f"fetching {url} (MB)", total >> 20) as advance:
                while piece := reply.read(2**20):
                    file.write(piece)
                    advance(1)
                if total and file.tell() < total:
                    raise OSError(f"the connection ended after {file.tell() >> 20} of {total >> 20} MB")
    except urllib.error.HTTPError as error:
        if error.code != 416 or not begun:  # all was there
            raise
    part.replace(path)
