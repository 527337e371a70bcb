"""``load``: the recogniser of a model folder, by torch, or of an exported one, by onnxruntime."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

from audiorec.errors import UserError
from audiorec.live import BaseRecognizer
from audiorec.runtime.folder import is_export
from audiorec.transcript import ENDPOINT, Endpoint

if TYPE_CHECKING:
    import torch

    from audiorec.recognizer import Recognizer
    from audiorec.runtime import Recognizer as OnnxRecognizer
    from audiorec.search import SearchConfig

    Device = str | torch.device
    Search = SearchConfig | Mapping[str, Any] | None

Runtime = Literal["auto", "onnx", "torch"]
RUNTIMES: tuple[str, ...] = get_args(Runtime)

log = logging.getLogger("audiorec")


def by_onnx(path: str | Path, runtime: str) -> bool:
    """Whether onnxruntime computes what lies at ``path``, for this one of RUNTIMES."""
    return runtime == "onnx" or (runtime == "auto" and is_export(path))


@overload
def load(
    path: str | Path,
    device: "Device" = "cpu",
    head: str | None = None,
    search: "Search" = None,
    endpoint: Endpoint = ENDPOINT,
    *,
    runtime: Literal["torch"],
    threads: int | None = None,
    language: str | None = None,
) -> "Recognizer": ...
@overload
def load(
    path: str | Path,
    device: "Device" = "cpu",
    head: str | None = None,
    search: "Search" = None,
    endpoint: Endpoint = ENDPOINT,
    *,
    runtime: Literal["onnx"],
    threads: int | None = None,
    language: str | None = None,
) -> "OnnxRecognizer": ...
@overload
def load(
    path: str | Path,
    device: "Device" = "cpu",
    head: str | None = None,
    search: "Search" = None,
    endpoint: Endpoint = ENDPOINT,
    *,
    runtime: Runtime = "auto",
    threads: int | None = None,
    language: str | None = None,
) -> BaseRecognizer: ...
def load(
    path: str | Path,
    device: "Device" = "cpu",
    head: str | None = None,
    search: "Search" = None,
    endpoint: Endpoint = ENDPOINT,
    *,
    runtime: Runtime = "auto",
    threads: int | None = None,
    language: str | None = None,
) -> BaseRecognizer:
    """The recogniser of a model folder or of a run (``exp/…``), by torch; or of an exported folder, by onnxruntime alone.

    ``hf://OWNER/NAME`` is a streaming checkpoint of the Hugging Face hub, imported on first use (``audiorec-speech[import]``).

    ``runtime`` auto takes what is there, and says on the logger ``audiorec`` which. Raises UserError naming what is wrong.

    ``device`` is cpu, cuda, cuda:1, mps or auto. ``search`` is a SearchConfig or its keys: ``{"kind": "beam", "beam": 4,
    "lm": "digits.arpa", "hotwords": ["one two"]}``; None is greedy. ``endpoint`` is an EndpointConfig or its keys, which say
    where segments of speech end, or None for no segments. ``threads`` are onnxruntime's, one unless given; torch's are the
    process's (``torch.set_num_threads``). ``language`` is one of the recogniser's ``languages``, where the model is told it. An
    exported folder runs on the cpu, has one head and one language, and is searched greedily or, of CTC, with a beam.
    """
    if runtime not in RUNTIMES:
        raise UserError(f"runtime: no runtime {runtime!r}; give {', '.join(RUNTIMES)}")
    if str(path).startswith("hf:/"):
        path = _fetched(path)
    if by_onnx(path, runtime):
        from audiorec.runtime import load as load_onnx

        log.info("%s: computed by onnxruntime", path)
        onnx = load_onnx(path, str(device), head, search, endpoint, 1 if threads is None else threads)
        return _told(onnx, language)
    without = (
        "has no export.yaml, so it takes torch, which is not installed; pip install audiorec-speech, or run "
        "`audiorec export` where torch is"
    )
    with _or_say(f"{path}: {without}"):
        from audiorec.recognizer import load as load_torch
    if threads is not None:
        raise UserError("threads: are torch's for the whole process here: torch.set_num_threads(n)")
    log.info("%s: computed by torch", path)
    return _told(load_torch(path, device, head, {} if search is None else search, endpoint), language)


def _told(recognizer: BaseRecognizer, language: str | None) -> BaseRecognizer:
    return recognizer if language is None else recognizer.in_language(language)


def _fetched(address: str | Path) -> Path:
    with _or_say(f"{address}: an import takes torch, which is not installed; pip install audiorec-speech"):
        from audiorec.importing.hub import fetched
    return fetched(address)


@contextmanager
def _or_say(without: str) -> Iterator[None]:
    """Around an import that takes torch: a UserError ``without`` it, or without the packages that come with it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in ("torch", "audiorec", "audiorec_kernels"):
            raise
        raise UserError(without) from None
