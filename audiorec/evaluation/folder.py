"""Folders of results: written whole or not at all, and the normalisation that a decoding records."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audiorec.config import parse
from audiorec.errors import UserError
from audiorec.files import replacing_folder
from audiorec.text import Normalizer


def recorded_normalizer(folder: Path) -> Normalizer | None:
    """The normalisation of a decoding's model, from its ``decode.json``; None where there is no file or no record."""
    path = Path(folder) / "decode.json"
    if not path.exists():
        return None
    settings = json.loads(path.read_text(encoding="utf-8")).get("normalize")
    return settings and parse(Normalizer, settings, prefix="normalize", source=str(path))


@contextmanager
def whole_folder(out: Path, mark: str) -> Iterator[Path]:
    """A folder to write into, which replaces ``out`` at the end.

    Raises UserError where ``out`` is not empty and has no file ``mark``, so is not an older folder of the same kind.
    """
    with replacing_folder(out) as part:
        yield part
        if out.exists() and not (out / mark).exists() and any(out.iterdir()):
            raise UserError(f"{out}: holds other files than {mark} and its own; choose another --out")
