"""Mend the tables of a Kaldi data directory, as Kaldi's fix_data_dir.sh does; audio is neither read nor changed."""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from audiorec.audio.file import PathLike
from audiorec.data.tables import KEYS, read_lines, speakers_utterances, split_line
from audiorec.errors import UserError
from audiorec.files import write_text

BACKUP = ".backup"
# Files that audiorec does not read, but Kaldi does: pattern → what their keys are.
OTHERS = {
    **dict.fromkeys(("utt2*", "feats.scp", "vad.scp"), "utterance"),
    "reco2*": "recording",
    **dict.fromkeys(("spk2gender", "cmvn.scp"), "speaker"),
}


@dataclass
class _File:
    """A table as rows of key and rest, and what was done to it."""

    keys: str
    before: bytes
    rows: list[tuple[str, str]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def keep(self, wanted: Callable[[str, str], bool], why: str) -> None:
        """Leave out the rows that are not wanted."""
        kept = [row for row in self.rows if wanted(*row)]
        if len(kept) < len(self.rows):
            lost = sorted({key for key, _ in self.rows} - {key for key, _ in kept})
            names = f" ({', '.join(lost[:3])}{', …' if len(lost) > 3 else ''})" if lost else ""
            self.done.append(f"{_count(len(self.rows) - len(kept), 'line')} left out: {why}{names}")
            self.rows = kept

    def keep_keys(self, keys: set[str]) -> None:
        self.keep(lambda key, _: key in keys, f"{self.keys}s that are not in every file")

    @property
    def text(self) -> str:
        return "".join(f"{key} {rest}".rstrip() + "\n" for key, rest in self.rows)


def fix_data_dir(path: PathLike, allow_empty_text: bool = False) -> list[str]:
    """Mend what can be mended without looking at audio; return a line for each file that changed and how.

    Lines are sorted, spaces and line ends put right, blank and doubled lines left out; so are utterances that are not in
    every file, have no text (unless allow_empty_text) or impossible times, and what belongs to none. spk2utt is made anew
    from utt2spk, which is made from spk2utt where it is missing. The former files go to the folder's ``.backup``. Raises
    UserError where nothing would be left, and for a file that is not UTF-8.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    files = {name: _read(folder / name, keys) for name, keys in _names(folder).items()}
    if "wav.scp" not in files:
        raise UserError(f"{folder}/wav.scp: no such file")
    if "utt2spk" not in files and "spk2utt" in files:
        rows = [(utterance, speaker) for speaker, rest in files["spk2utt"].rows for utterance in rest.split()]
        files["utt2spk"] = _File("utterance", b"", sorted(rows), ["made from spk2utt"])
    _match(folder, files, allow_empty_text)
    changed = {name: file for name, file in files.items() if file.text.encode() != file.before}
    for name, file in changed.items():
        if file.before:
            (folder / BACKUP).mkdir(exist_ok=True)
            shutil.copy2(folder / name, folder / BACKUP / name)
        write_text(folder / name, file.text)
    return [f"{name}: {'; '.join(file.done)}" for name, file in changed.items()]


def _names(folder: Path) -> dict[str, str]:
    names = {name: keys for name, keys in KEYS.items() if (folder / name).is_file()}
    for pattern, keys in OTHERS.items():
        names |= {path.name: keys for path in sorted(folder.glob(pattern)) if path.is_file() and path.name not in KEYS}
    return names


def _read(path: Path, keys: str) -> _File:
    file, lines, spaces, returns = _File(keys, path.read_bytes()), [], 0, 0
    for number, raw in enumerate(read_lines(path), 1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}:{number}: byte {error.start + 1} is not UTF-8: convert the file with iconv first"
            ) from None
        returns += line.endswith("\r")
        line = line.removesuffix("\r")
        if line.strip():
            lines.append(split_line(line, path.name))
            spaces += line != " ".join(lines[-1]).rstrip()
    blank = len(read_lines(path)) - len(lines)
    rows = list(dict.fromkeys(lines))
    for number, what in ((returns, "carriage return"), (blank, "blank line"), (len(lines) - len(rows), "doubled line")):
        if number:
            file.done.append(f"{_count(number, what)} left out")
    if spaces:
        file.done.append(f"spaces put right in {_count(spaces, 'line')}")
    file.rows = sorted(rows, key=lambda row: row[0])
    if file.rows != rows:
        file.done.append("sorted")
    if not file.done and file.text.encode() != file.before:
        file.done.append("line ends put right")
    return file


def _match(folder: Path, files: dict[str, _File], allow_empty_text: bool) -> None:
    """Keep what belongs together: utterances that are in every file, and their recordings and speakers."""
    recordings = {key for key, _ in files["wav.scp"].rows}
    if segments := files.get("segments"):
        segments.keep(lambda key, rest: _is_span(rest), "no start before an end")
        segments.keep(lambda key, rest: rest.split()[0] in recordings, "their recording is not in wav.scp")
    if (text := files.get("text")) and not allow_empty_text:
        text.keep(lambda key, rest: bool(rest), "no words")
    tables = [file for name in ("segments" if segments else "wav.scp", "text", "utt2spk") if (file := files.get(name))]
    utterances = set.intersection(*({key for key, _ in file.rows} for file in tables))
    if not utterances:
        raise UserError(
            f"{folder}: no utterance is in {', '.join(KEYS)} alike, as far as these exist; nothing is changed"
        )
    used = {rest.split()[0] for key, rest in segments.rows if key in utterances} if segments else utterances
    speakers = (
        speakers_utterances(row for row in files["utt2spk"].rows if row[0] in utterances) if "utt2spk" in files else {}
    )
    wanted = {"utterance": utterances, "recording": used, "speaker": set(speakers)}
    for name, file in files.items():
        if name == "spk2utt":
            rows = sorted((speaker, " ".join(names)) for speaker, names in speakers.items())
            if rows != file.rows:
                file.rows, file.done = rows, ["made anew from utt2spk"]
        elif file.keys != "speaker" or speakers:
            file.keep_keys(wanted[file.keys])


def _is_span(rest: str) -> bool:
    """Whether it is RECORDING START END [CHANNEL] with a start before the end; −1 is the recording's end."""
    try:
        _, *fields = rest.split()
        start, end = map(float, fields[:2])
        if len(fields) > 3 or (fields[2:] and int(fields[2]) < 0):
            return False
    except ValueError:
        return False
    return math.isfinite(end) and start >= 0 and (start < end or end == -1)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number > 1 else ''}"
