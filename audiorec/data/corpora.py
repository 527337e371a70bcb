"""Where corpora are: under ``$AUDIOREC_DATA``, as a folder or as a tar archive that is unpacked once."""

import os
import shutil
import tarfile
from pathlib import Path

from audiorec.errors import UserError


def find_corpus(name: str, cache: Path | str = ".cache") -> Path:
    """The folder of a corpus: ``$AUDIOREC_DATA/NAME``, or ``NAME.tar`` there, unpacked into ``cache``.

    Raises UserError that says what to put where.
    """
    home = os.environ.get("AUDIOREC_DATA")
    if not home:
        raise UserError(f"corpus {name}: set AUDIOREC_DATA to the folder that holds {name}/ or {name}.tar")
    folder, archive, unpacked = Path(home) / name, Path(home) / f"{name}.tar", Path(cache) / name
    if folder.is_dir():
        return folder
    if unpacked.is_dir():
        return unpacked
    if not archive.is_file():
        raise UserError(f"corpus {name}: neither {folder} nor {archive} is there; put one of them there")
    part = unpacked.with_name(f"{name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(part, filter="data")
        inner = part / name
        if not inner.is_dir():
            raise UserError(f"{archive}: holds no folder {name}/")
        inner.rename(unpacked)
    except tarfile.TarError as error:
        raise UserError(f"{archive}: not a tar archive, or damaged ({error}); fetch it again") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return unpacked
