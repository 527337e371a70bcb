"""What a recogniser takes as audio: files, open files, arrays, tensors, and arrays with their sample rate."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np

from audiorec.audio.read import blocks, check
from audiorec.audio.resample import Resampler
from audiorec.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

Samples: TypeAlias = "np.ndarray | Tensor"
Audio: TypeAlias = "str | os.PathLike[str] | BinaryIO | Samples | tuple[int, Samples]"


def to_array(samples: Samples, what: str) -> np.ndarray:
    """Samples (T,) as a float32 array; ``what`` names them in errors. Raises UserError as ``audio.read.check``, and for bytes."""
    if isinstance(samples, bytes | bytearray | memoryview):
        raise UserError(f"{what}: bytes do not name their type; give 16-bit PCM as numpy.frombuffer(data, '<i2')")
    if hasattr(samples, "detach"):  # a tensor, which this floor need not know
        samples = samples.detach().cpu()
        samples = (samples.float() if samples.is_floating_point() else samples).numpy()
    return check(samples, what)


def to_packet(samples: "Samples | bytes") -> np.ndarray:
    """Samples (T,) of a live stream as a float32 array; bytes are 16-bit PCM, little-endian, as clients send it."""
    if isinstance(samples, bytes | bytearray | memoryview):
        data = memoryview(samples).cast("B")
        if len(data) % 2:
            raise UserError(f"stream: {len(data)} bytes are no whole number of 16-bit samples; send whole samples")
        samples = np.frombuffer(data, "<i2")
    return to_array(samples, "stream")


def pieces(
    audio: Any, sample_rate: int | None, model_rate: int, accept_truncated: bool = False
) -> Iterator[tuple[np.ndarray, int]]:
    """(samples (T,), their rate in Hz) of an ``Audio``, in order: a file in blocks, an array or tensor whole.

    Arrays are at ``sample_rate``, else at ``model_rate``; a pair (rate, array) or (array, rate) brings its own.
    """
    if isinstance(audio, str | os.PathLike) or hasattr(audio, "read"):
        if sample_rate is not None:
            raise UserError("transcribe: a file has a sample rate of its own; leave sample_rate out")
        yield from blocks(audio, accept_truncated=accept_truncated)
        return
    if accept_truncated:
        raise UserError("transcribe: accept_truncated is for files; an array is as long as it is")
    if isinstance(audio, bytes | bytearray | memoryview):
        raise UserError(
            "transcribe: bytes do not name their type; give a file's content as io.BytesIO(data), 16-bit PCM as "
            "numpy.frombuffer(data, '<i2')"
        )
    if is_pair(audio):
        rate, audio = audio if isinstance(audio[0], int | np.integer) else reversed(audio)
        if sample_rate not in (None, rate):
            raise UserError(f"transcribe: an array at {rate} Hz, and sample_rate {sample_rate}; leave one out")
        sample_rate = int(rate)
    samples = to_array(audio, "transcribe")
    if not len(samples):
        raise UserError("transcribe: the array holds no samples")
    yield samples, model_rate if sample_rate is None else sample_rate


def is_pair(audio: Any) -> bool:
    """Whether it is an array or tensor with its rate, in either order, as scipy, soundfile and others return them."""
    return isinstance(audio, tuple) and len(audio) == 2 and sum(isinstance(x, int | np.integer) for x in audio) == 1


def whole(audio: Iterator[tuple[np.ndarray, int]], sample_rate: int) -> np.ndarray:
    """All pieces as one array (T,), resampled to ``sample_rate``."""
    first, rate = next(audio)
    resampler = Resampler(rate, sample_rate)
    parts = [resampler.push(first), *(resampler.push(samples) for samples, _ in audio)]
    return np.concatenate([*parts, resampler.flush()])
