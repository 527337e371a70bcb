"""The recogniser that a command's options ask for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from audiorec.errors import ConfigError


def load_recognizer(
    model: Path,
    device: str,
    head: str | None,
    search: dict[str, Any],
    latency_ms: float | None,
    threads: int | None,
    runtime: str,
    endpoint: Mapping[str, Any] | None = None,
    language: str | None = None,
) -> Any:
    """As ``audiorec.load``; ``threads`` are those of either runtime, ``endpoint`` None is the default."""
    from audiorec.loading import RUNTIMES, by_onnx, load
    from audiorec.transcript import ENDPOINT

    if runtime not in RUNTIMES:
        raise ConfigError(f"--runtime {runtime}: must be {', '.join(RUNTIMES)}")
    onnx = by_onnx(model, runtime)
    if threads and not onnx:
        import torch

        torch.set_num_threads(threads)
    recognizer = load(
        model,
        device,
        head,
        search,
        endpoint or ENDPOINT,
        runtime=cast(Any, runtime),
        threads=threads if onnx else None,
        language=language,
    )
    return recognizer if latency_ms is None else recognizer.at_latency(latency_ms)
