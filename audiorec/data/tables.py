"""The files of a Kaldi data directory as tables: lines of a key and its rest, and what is wrong with them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from operator import le
from pathlib import Path

from audiorec.errors import UserError

# What the keys of each file are, in the order in which problems are reported.
KEYS = {
    "wav.scp": "recording",
    "reco2file_and_channel": "recording",
    "segments": "utterance",
    "text": "utterance",
    "utt2spk": "utterance",
    "labels": "utterance",
    "spk2utt": "speaker",
    "reco2dur": "recording",
    "utt2dur": "utterance",
}
DURATIONS = "reco2dur", "utt2dur"  # which need not be there, nor be complete
FILES = tuple(KEYS)

STRAYS = tuple(bytes([byte]) for byte in b"\t\v\f\r\x1c\x1d\x1e\x1f")  # ASCII's spaces but the space and the newline

Table = dict[str, tuple[int, str]]  # key → its line number and the rest of that line


@dataclass(frozen=True)
class Problem:
    """What is wrong in a line of a file of a data directory; line None is the file as a whole."""

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}" if self.line is None else f"{self.file}:{self.line}: {self.message}"

    @property
    def kind(self) -> str:
        """The file and the message without names, paths and numbers: problems of one cause have one kind."""
        return f"{self.file}: " + re.sub(r"\S*[\d'/\\]\S*", "…", self.message)


def in_order(problems: list[Problem]) -> list[Problem]:
    """By file and line."""
    return sorted(problems, key=lambda problem: (FILES.index(problem.file), problem.line or 0))


def read_table(path: Path, problems: list[Problem]) -> Table:
    """Read a file, reporting what Kaldi does not accept; of two lines with one key the first is kept.

    As in Kaldi, keys and words stand between any spaces and tabs.
    """
    lines = read_lines(path)
    if plain := _plain_table(lines):
        return plain
    rows: Table = {}
    for number, key, rest in _read_rows(path, lines, problems):
        if key not in rows:
            rows[key] = number, rest
            continue
        message = f"{KEYS[path.name]} {key!r} appears twice (first in line {rows[key][0]}): keep one"
        problems.append(Problem(path.name, number, message))
    return rows


def read_rows(path: Path, problems: list[Problem]) -> list[tuple[int, str, str]]:
    """(number, key, rest) of every line of a file in which keys may stand in several, reporting what Kaldi does not accept."""
    return _read_rows(path, read_lines(path), problems)


def _read_rows(path: Path, lines: list[bytes], problems: list[Problem]) -> list[tuple[int, str, str]]:
    def add(line: int | None, message: str) -> None:
        problems.append(Problem(path.name, line, message))

    rows: list[tuple[int, str, str]] = []
    returns, unsorted, last = [], [], ""
    for number, raw in enumerate(lines, 1):
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            add(number, f"byte {error.start + 1} is not UTF-8: convert the file with iconv")
            line = raw.decode(errors="replace")
        if line.endswith("\r"):
            returns.append(number)
            line = line[:-1]
        if line.startswith("\ufeff"):
            add(number, "starts with a byte order mark: save the file without one")
            line = line[1:]
        if not line.strip():
            add(number, "is blank: delete it")
            continue
        if stray := re.search(r"[^\S \t]", line):
            add(number, f"{stray[0]!r} in column {stray.start() + 1}: put spaces between words")
        key, rest = split_line(line, path.name)
        if key < last:
            unsorted.append(number)
        rows.append((number, key, rest))
        last = key
    if not rows:
        add(None, "is empty")
    if returns:
        add(returns[0], f"ends in a carriage return{_likewise(returns)}: convert the file with dos2unix")
    if unsorted:
        add(unsorted[0], f"is not in order{_likewise(unsorted)}: sort the file with LC_ALL=C sort")
    return rows


def _plain_table(lines: list[bytes]) -> Table | None:
    """The rows of a file with nothing to report and one space between words, as most are: many times sooner."""
    whole = b"\n".join(lines)
    if b"  " in whole or b" \n" in whole or b"\n " in whole or whole[:1] == b" " or whole[-1:] == b" ":
        return None
    try:
        text = whole.decode()
    except UnicodeDecodeError:
        return None
    if any(stray in whole for stray in STRAYS) if text.isascii() else re.search(r"[^\S \n]|\A\ufeff", text):
        return None
    rows = {}
    for number, line in enumerate(text.split("\n"), 1):
        key, _, rest = line.partition(" ")
        rows[key] = number, rest
    ordered = all(map(le, rows, islice(rows, 1, None)))
    return rows if ordered and len(rows) == len(lines) and "" not in rows else None


def read_lines(path: Path) -> list[bytes]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    return lines if lines[-1] else lines[:-1]


def split_line(line: str, file: str) -> tuple[str, str]:
    """Key and rest, one space between the words of the rest; a path in wav.scp may hold more of them."""
    key, *more = line.split(maxsplit=1)
    rest = more[0].rstrip() if more else ""
    return key, rest if file == "wav.scp" else " ".join(rest.split())


def speakers_utterances(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """(utterance, speaker) pairs, as in utt2spk, as speaker → utterances, as in spk2utt."""
    speakers: dict[str, list[str]] = {}
    for utterance, speaker in pairs:
        speakers.setdefault(speaker, []).append(utterance)
    return speakers


def _likewise(numbers: list[int]) -> str:
    return f", like {len(numbers) - 1} more" if len(numbers) > 1 else ""
