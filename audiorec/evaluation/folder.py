"""Folders of results, written whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audiorec.errors import UserError


@contextmanager
def whole_folder(out: Path, mark: str) -> Iterator[Path]:
    """A folder to write into; at the end it takes the place of ``out``, if that is empty or holds the file ``mark`` of an
    earlier one. Raises UserError where ``out`` holds anything else."""
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        if out.exists():
            if not (out / mark).exists() and any(out.iterdir()):
                raise UserError(f"{out}: holds other files than {mark} and its own; choose another --out")
            shutil.rmtree(out)
        os.replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
