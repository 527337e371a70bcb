"""The events of our own protocol, as JSON objects."""

from typing import Any

from audiorec.transcript import Piece, Segment


def final_event(number: int, segment: Segment) -> dict[str, Any]:
    """A segment that ended."""
    return {"type": "final", "segment": number, **segment_fields(segment)}


def partial_event(number: int, segment: Segment, settled: str) -> dict[str, Any]:
    """The segment under way. ``settled`` is text that does not change any more."""
    # Characters, for settled text is the begin of the whole.
    count = len(settled) if segment.text.startswith(settled) else 0
    return {"type": "partial", "segment": number, **segment_fields(segment), "settled": count}


def segment_fields(segment: Segment) -> dict[str, Any]:
    return {"text": segment.text, "words": [*map(word_event, segment.words)], "continues": segment.continues}


def word_event(word: Piece) -> dict[str, Any]:
    """A word with its times in seconds."""
    return {"text": word.text, "start": word.start, "end": word.end, "confidence": round(word.confidence, 6)}
