"""A transcript in the JSON of OpenAI's REST interface."""

import math
import zlib
from collections.abc import Sequence
from typing import Any

from audiorec.transcript import Piece, Result, Segment

FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "events")


def usage(seconds: float) -> dict[str, Any]:
    """What every answer must tell: whole seconds of audio."""
    return {"type": "duration", "seconds": math.ceil(seconds)}


def as_json(result: Result, seconds: float, logprobs: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"text": result.text, "usage": usage(seconds)}
    return {**answer, "logprobs": token_log_probs(result.tokens)} if logprobs else answer


def token_log_probs(tokens: Sequence[Piece]) -> list[dict[str, Any]]:
    """Of each token its text, the logarithm of its probability, its bytes."""
    texts = [token.text.replace("▁", " ") for token in tokens]
    return [
        {"token": text, "logprob": _log(token.confidence), "bytes": list(text.encode())}
        for text, token in zip(texts, tokens, strict=True)
    ]


def as_verbose(
    result: Result, seconds: float, language: str, pieces: Sequence[str], granularities: Sequence[str]
) -> dict[str, Any]:
    """``pieces`` are the tokenizer's, for the tokens' numbers."""
    answer: dict[str, Any] = {"task": "transcribe", "language": language, "duration": seconds, "text": result.text}
    if "word" in granularities:
        answer["words"] = [{"word": word.text, "start": word.start, "end": word.end} for word in result.words]
    if "segment" in granularities or not granularities:
        numbers = {piece: number for number, piece in enumerate(pieces)}
        answer["segments"] = [_verbose(i, segment, numbers) for i, segment in enumerate(result.segments)]
    return {**answer, "usage": usage(seconds)}


def _verbose(number: int, segment: Segment, numbers: dict[str, int]) -> dict[str, Any]:
    start, end = _span(segment)
    logs, data = [_log(token.confidence) for token in segment.tokens], segment.text.encode()
    return {
        "id": number,
        "seek": int(start * 100),
        "start": start,
        "end": end,
        "text": segment.text if segment.continues else " " + segment.text,
        "tokens": [numbers[token.text] for token in segment.tokens],
        "temperature": 0.0,
        "avg_logprob": sum(logs) / max(1, len(logs)),
        "compression_ratio": len(data) / max(1, len(zlib.compress(data))),
        "no_speech_prob": 0.0,
    }


def _span(segment: Segment) -> tuple[float, float]:
    return (segment.words[0].start, segment.words[-1].end) if segment.words else (0.0, 0.0)


def _log(probability: float) -> float:
    return math.log(max(probability, 1e-30))
