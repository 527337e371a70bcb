"""Folders of results, written whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audiorec.errors import UserError
from audiorec.files import replacing_folder


@contextmanager
def whole_folder(out: Path, mark: str) -> Iterator[Path]:
    """A folder to write into; at the end it takes the place of ``out``, if that is empty or holds the file ``mark`` of an
    earlier one. Raises UserError where ``out`` holds anything else."""
    with replacing_folder(out) as part:
        yield part
        if out.exists() and not (out / mark).exists() and any(out.iterdir()):
            raise UserError(f"{out}: holds other files than {mark} and its own; choose another --out")
