"""``import_model``: which importer reads a source."""

from pathlib import Path

from audiorec.errors import UserError
from audiorec.importing.icefall import is_icefall, read_icefall
from audiorec.importing.nemo import SUPPORTED, read_nemo
from audiorec.importing.transformers import read_transformers
from audiorec.models import AsrModel


def import_model(source: Path | str, out: Path | str) -> AsrModel:
    """Write another toolkit's model as the model folder ``out``, whole or not at all, and return it.

    ``source`` is a ``.nemo`` file, a folder that transformers wrote, or icefall's folder or ``pretrained.pt``. Nothing in it is
    run: weights are read as tensors alone. Raises UserError for what is not supported, damaged, or would lead out of its folder,
    and for an ``out`` that exists and is no model folder.
    """
    source, out = Path(source), Path(out)
    if out.exists() and not (out / "config.yaml").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out}: exists and is no model folder; give another --out, or remove it")
    if is_icefall(source):
        return read_icefall(source).save(out)
    if source.suffix == ".nemo" or source.is_file():
        return read_nemo(source).save(out)
    if not source.exists():
        raise UserError(f"{source}: no such file or folder")
    if (source / "config.json").is_file():
        return read_transformers(source).save(out)
    raise UserError(f"{source}: neither a .nemo file nor a folder with config.json or exp/pretrained.pt; {SUPPORTED}")
