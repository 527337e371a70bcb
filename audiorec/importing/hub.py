"""``hf://OWNER/NAME``: a model of the Hugging Face hub, fetched and imported once, then read from this user's cache."""

import os
import re
from contextlib import suppress
from pathlib import Path

from audiorec.errors import UserError
from audiorec.importing.icefall import is_icefall
from audiorec.importing.nemo import SUPPORTED
from audiorec.importing.source import import_model

_ADDRESS = re.compile(r"^hf:/{1,2}([\w.-]+)/([\w.-]+?)(?:@([\w./-]+))?$")  # a Path has one slash left of the two
_FOLDER = ["*.json", "*.safetensors", "tokenizer.model"]  # of transformers
_ICEFALL = ["exp/pretrained.pt", "data/lang_*/bpe.model", "data/lang_*/tokens.txt"]


def fetched(address: str | Path) -> Path:
    """The model folder of ``hf://OWNER/NAME``, or ``…@REVISION``: that of an earlier import, or one made now.

    It lies under $AUDIOREC_CACHE, else under ~/.cache/audiorec. Raises UserError for what is no such address, what the hub does
    not have or cannot give now, and what cannot be imported.
    """
    owner, name, revision = _parts(address)
    folder = _cache() / "--".join(filter(None, (owner, name, revision and revision.replace("/", "--"))))
    if not (folder / "config.yaml").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        import_model(downloaded(address), folder)
    return folder


def _parts(address: str | Path) -> tuple[str, str, str | None]:
    match = _ADDRESS.match(str(address))
    if not match:
        raise UserError(f"{address}: write it as hf://OWNER/NAME or hf://OWNER/NAME@REVISION")
    owner, name, revision = match.groups()
    return owner, name, revision


def _cache() -> Path:
    return Path(os.environ.get("AUDIOREC_CACHE") or Path.home() / ".cache" / "audiorec") / "imported"


def downloaded(address: str | Path) -> Path:
    """What an address names, as it came: a ``.nemo`` file, or where the hub has none the folder. Its own cache is used."""
    owner, name, revision = _parts(address)
    repository = f"{owner}/{name}"
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ModuleNotFoundError:
        raise UserError(f"{address}: takes huggingface_hub; pip install 'audiorec-speech[import]'") from None
    with suppress(LocalEntryNotFoundError):
        if found := _model_in(Path(snapshot_download(repository, revision=revision, local_files_only=True))):
            return found
    try:
        names = HfApi().list_repo_files(repository, revision=revision)
        patterns = ["*.nemo"] if any(name.endswith(".nemo") for name in names) else [*_FOLDER, *_ICEFALL]
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except HfHubHTTPError as error:
        raise UserError(f"{address}: the hub does not give it ({_line(error)})") from None
    except Exception as error:  # of whichever library carries its requests, or its offline mode
        raise UserError(
            f"{address}: the hub cannot be reached ({_line(error)}), and its cache does not hold this model; fetch it where "
            "there is a network, and give the file to `audiorec import`"
        ) from None
    if found := _model_in(folder):
        return found
    raise UserError(f"{address}: holds neither a .nemo file nor weights in safetensors, nor icefall's; {SUPPORTED}")


def _model_in(folder: Path) -> Path | None:
    """Its ``.nemo`` file, or itself where it holds transformers' files or icefall's."""
    if archives := sorted(folder.glob("*.nemo")):
        return archives[0]
    transformers = (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
    return folder if transformers or is_icefall(folder) else None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
