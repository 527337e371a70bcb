"""Files and folders that appear whole or not at all: written aside, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A path beside ``path``, of the same suffix, to write a file to; at the end it takes the place of ``path``.

    After an exception ``path`` is as it was, and what was written aside is gone.
    """
    path = Path(path)
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path | str) -> Iterator[Path]:
    """An empty folder beside ``path`` to write into; at the end it takes the place of ``path``, if that exists.

    After an exception ``path`` is as it was, and what was written aside is gone.
    """
    path = Path(path)
    aside, old = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        aside.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path | str, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all, and the folders above it."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")
