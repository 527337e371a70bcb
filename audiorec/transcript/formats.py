"""A result as text for other programs: JSON, subtitles (SRT, WebVTT), CTM, Praat's TextGrid."""

import json
from collections.abc import Iterator
from typing import NamedTuple

from audiorec.transcript.result import Piece, Result

# A subtitle: two lines of 42 characters that stay for seven seconds at most, as television has them.
LINE, LINES, SECONDS = 42, 2, 7.0


class Cue(NamedTuple):
    """A subtitle's lines and the seconds in which it is shown."""

    start: float
    end: float
    lines: list[str]


def cues(result: Result) -> list[Cue]:
    """The words as subtitles: none reaches beyond a segment."""
    shown: list[Cue] = []
    for segment in result.segments:
        for words in _runs(segment.words):
            shown.append(Cue(words[0].start, words[-1].end, _lines(words)))
    return shown


def to_json(result: Result, name: str) -> str:
    """One line: the name, then ``Result.to_dict``."""
    return json.dumps({"name": name, **result.to_dict()}, ensure_ascii=False) + "\n"


def to_text(result: Result, name: str) -> str:
    """The text alone."""
    return result.text + "\n"


def to_srt(result: Result, name: str) -> str:
    """SubRip: numbered subtitles, commas before the milliseconds."""
    parts = [
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n" + "\n".join(cue.lines) + "\n"
        for number, cue in enumerate(cues(result), 1)
    ]
    return "\n".join(parts)


def to_vtt(result: Result, name: str) -> str:
    """WebVTT, as browsers show it."""
    parts = [
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n" + "\n".join(_escape(line) for line in cue.lines) + "\n"
        for cue in cues(result)
    ]
    return "\n".join(["WEBVTT\n", *parts])


def to_ctm(result: Result, name: str) -> str:
    """NIST's format of timed words, with confidences; the name's spaces become underscores."""
    name = "_".join(name.split())
    return "".join(ctm_line(name, word.start, word.end, word.text, word.confidence) for word in result.words)


def to_textgrid(result: Result, name: str) -> str:
    """Praat's long text format: one tier of words, which fill the time with empty intervals between."""
    spans, at = [], 0.0
    for word in result.words:
        start, end = round(max(word.start, at), 6), round(word.end, 6)
        if end <= start:
            continue  # Praat has no interval without length
        spans += [(at, start, "")] if start > at else []
        spans.append((start, end, word.text))
        at = end
    spans = spans or [(0.0, 1.0, "")]
    end = spans[-1][1]
    head = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {end:g}",
        "tiers? <exists>",
        "size = 1",
        "item []:",
        "    item [1]:",
        '        class = "IntervalTier"',
        '        name = "words"',
        "        xmin = 0",
        f"        xmax = {end:g}",
        f"        intervals: size = {len(spans)}",
    ]
    for number, (start, until, text) in enumerate(spans, 1):
        quoted = text.replace('"', '""')
        head += [f"        intervals [{number}]:", f"            xmin = {start:g}", f"            xmax = {until:g}"]
        head.append(f'            text = "{quoted}"')
    return "\n".join([*head, ""])


def ctm_line(utterance: str, begin: float, end: float, text: str, confidence: float | None = None) -> str:
    """One line; begin and end are rounded to 1 ms, so that words that do not overlap do not in the file either."""
    begin, end = round(begin, 3), round(end, 3)
    sure = "" if confidence is None else f" {confidence:.2f}"
    return f"{utterance} 1 {begin:.3f} {end - begin:.3f} {text}{sure}\n"


FORMATS = {
    "text": to_text,
    "json": to_json,
    "srt": to_srt,
    "vtt": to_vtt,
    "ctm": to_ctm,
    "textgrid": to_textgrid,
}
SUFFIX = {"text": "txt", "textgrid": "TextGrid"}  # of a file, where it is not the format's name


def _runs(words: list[Piece]) -> Iterator[list[Piece]]:
    """Words that fit into one subtitle each."""
    run: list[Piece] = []
    for word in words:
        if run and (len(_lines([*run, word])) > LINES or word.end - run[0].start > SECONDS):
            yield run
            run = []
        run.append(word)
    if run:
        yield run


def _lines(words: list[Piece]) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word.text) <= LINE:
            lines[-1] += " " + word.text
        else:
            lines.append(word.text)
    return lines


def _clock(seconds: float, point: str) -> str:
    milliseconds = max(0, round(seconds * 1000))
    minutes, milliseconds = divmod(milliseconds, 60000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
