"""Manifests of lhotse (recordings with supervisions, cuts) and of NeMo, in and out, without these libraries."""

import gzip
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from audiorec.audio.read import Header, header
from audiorec.data.tar import Member
from audiorec.data.utterance import Audio, Pipe, Utterance, source
from audiorec.errors import UserError
from audiorec.files import replacing

Rows = Iterable[tuple[str, dict]]  # place, as `file:line`, and object


def read_manifest(path: Path) -> list[Utterance]:
    """The utterances of a manifest, sorted: a NeMo manifest; lhotse's cuts; or a folder of lhotse's recordings and supervisions.

    Files are JSON lines, also as .gz. A relative path is relative to the manifest, or else to the working directory. Raises
    UserError naming the line of what is no such manifest, or not in files.
    """
    if path.is_dir():
        recordings, supervisions = (_only(path, name) for name in ("recordings", "supervisions"))
        utterances = list(_supervised(_rows(recordings), _rows(supervisions), path))
    else:
        rows = iter(_rows(path))
        try:
            _, first = next(rows)
        except StopIteration:
            raise UserError(f"{path}: is empty") from None
        utterances = list((_cuts if "type" in first or "recording" in first else _nemo)(_rows(path), path.parent))
    found: dict[str, Utterance] = {}
    for utterance in utterances:
        if utterance.id in found:
            raise UserError(f"{path}: utterance {utterance.id!r} appears twice")
        found[utterance.id] = utterance
    return sorted(found.values(), key=lambda utterance: utterance.id)


def write_nemo(path: Path, utterances: Iterable[Utterance], seconds: Mapping[str, float]) -> None:
    """A NeMo manifest (jsonl, or .gz): audio_filepath, offset, duration, text; ids beside, which NeMo leaves alone."""

    found = _without_labels(utterances)

    def rows() -> Iterator[dict]:
        for u in found:
            yield {
                "audio_filepath": _file(u),
                **({"offset": u.start} if u.start or u.end is not None else {}),
                "duration": seconds[u.id],
                "text": u.text,
                "speaker": u.speaker,
                "utt_id": u.id,
                "recording_id": u.recording,
                **({} if u.channel is None else {"channel_selector": u.channel}),
            }

    _write(path, rows())


def write_lhotse(folder: Path, utterances: Iterable[Utterance], seconds: Mapping[str, float]) -> None:
    """recordings.jsonl.gz, supervisions.jsonl.gz and cuts.jsonl.gz, as lhotse reads them: a cut is one utterance."""
    utterances = _without_labels(utterances)
    recordings: dict[str, dict] = {}
    for utterance in utterances:
        if utterance.recording not in recordings:
            recordings[utterance.recording] = _lhotse_recording(utterance)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "recordings.jsonl.gz", recordings.values())
    _write(folder / "supervisions.jsonl.gz", (_supervision(u, seconds[u.id], u.start) for u in utterances))
    _write(folder / "cuts.jsonl.gz", (_cut(u, seconds[u.id], recordings[u.recording]) for u in utterances))


# Out


def _lhotse_recording(utterance: Utterance) -> dict:
    examined = header(source(utterance.path))
    frames = _frames(utterance, examined)
    if isinstance(utterance.path, Pipe):
        place: dict[str, Any] = {"type": "command", "source": utterance.path.command}
    else:
        place = {"type": "file", "source": _file(utterance)}
    return {
        "id": utterance.recording,
        "sources": [{**place, "channels": list(range(examined.channels))}],
        "sampling_rate": examined.sample_rate,
        "num_samples": frames,
        "duration": frames / examined.sample_rate,
        "channel_ids": list(range(examined.channels)),
    }


def _frames(utterance: Utterance, examined: Header) -> int:
    from audiorec.data.durations import examine

    if examined.frames is not None:
        return examined.frames
    return round(examine(utterance.path) * examined.sample_rate)


def _supervision(utterance: Utterance, seconds: float, start: float) -> dict:
    return {
        "id": utterance.id,
        "recording_id": utterance.recording,
        "start": start,
        "duration": seconds,
        "channel": utterance.channel or 0,
        "text": utterance.text,
        "speaker": utterance.speaker,
    }


def _cut(utterance: Utterance, seconds: float, recording: dict) -> dict:
    # A supervision's time within a cut begins with the cut.
    channels = recording["channel_ids"]
    several = utterance.channel is None and len(channels) > 1  # averaged
    supervision = _supervision(utterance, seconds, 0.0) | ({"channel": channels} if several else {})
    return {
        "id": utterance.id,
        "start": utterance.start,
        "duration": seconds,
        "channel": channels if several else utterance.channel or 0,
        "supervisions": [supervision],
        "recording": recording,
        "type": "MultiCut" if several else "MonoCut",
    }


def _without_labels(utterances: Iterable[Utterance]) -> list[Utterance]:
    utterances = list(utterances)
    for utterance in utterances:
        if utterance.labels:
            raise UserError(
                f"utterance {utterance.id!r}: has labels, which no manifest holds; export a copy of the folder without the "
                "file `labels`"
            )
    return utterances


def _file(utterance: Utterance) -> str:
    if isinstance(utterance.path, Pipe):
        raise UserError(f"recording {utterance.recording!r} is a command, which a NeMo manifest cannot hold")
    if isinstance(utterance.path, Member):
        raise UserError(
            f"recording {utterance.recording!r} lies in a tar file, of which a manifest cannot name a part: export the folder "
            "that it was made of"
        )
    return os.path.abspath(utterance.path)


def _write(path: Path, rows: Iterable[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    opened: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    with replacing(path) as aside, opened(aside, "wt", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


# In


def _nemo(rows: Rows, home: Path) -> Iterator[Utterance]:
    names: dict[Path, str] = {}
    for place, row in rows:
        path = _place(home, _get(row, "audio_filepath", str, place))
        start = float(row.get("offset") or 0.0)
        duration = row.get("duration")
        whole = row.get("offset") is None or duration is None
        end = None if whole else start + float(_get(row, "duration", (int, float), place))
        file = row.get("recording_id") or names.get(path)
        if file is None:
            file = names[path] = _name(path, names.values())
        name = row.get("utt_id") or row.get("id") or _name_of_part(file, start, end)
        channel = row.get("channel_selector")
        if channel is not None and not isinstance(channel, int):
            raise UserError(f"{place}: channel_selector {channel!r}: only the number of a channel is understood")
        speaker = row.get("speaker") or name
        text = " ".join(str(row.get("text") or "").split())
        yield Utterance(str(name), str(file), path, start, end, text, str(speaker), channel)


def _name(path: Path, taken: Collection[str]) -> str:
    """Of a recording: as its file is called, with so much of the folders above that it has no other's name."""
    parts = ["_".join(part.split()) for part in path.with_suffix("").parts if part != path.anchor]
    names = ("-".join(parts[-count:]) for count in range(1, len(parts) + 1))
    return next((name for name in names if name not in taken), f"{'-'.join(parts)}-{len(taken)}")


def _name_of_part(file: str, start: float, end: float | None) -> str:
    return file if end is None else f"{file}-{round(start * 1000):07d}-{round(end * 1000):07d}"


def _supervised(recordings: Rows, supervisions: Rows, home: Path) -> Iterator[Utterance]:
    known = {_get(row, "id", str, place): (place, row) for place, row in recordings}
    for place, row in supervisions:
        name = _get(row, "recording_id", str, place)
        if name not in known:
            raise UserError(f"{place}: recording {name!r} is not among the recordings")
        yield _utterance(row, place, *known[name], home=home, offset=0.0)


def _cuts(rows: Rows, home: Path) -> Iterator[Utterance]:
    for place, row in rows:
        kind = row.get("type", "MonoCut")
        if kind not in ("MonoCut", "MultiCut") or not row.get("recording"):
            raise UserError(f"{place}: a {kind} without a recording of its own: save the cuts as audio first")
        supervisions = row.get("supervisions") or []
        if len(supervisions) != 1:
            raise UserError(
                f"{place}: {len(supervisions)} supervisions in a cut: cuts.trim_to_supervisions() has one in each"
            )
        whole = {**supervisions[0], "start": 0.0, "duration": row["duration"], "id": row["id"]}
        yield _utterance(whole, place, place, row["recording"], home=home, offset=float(row["start"]))


def _utterance(row: dict, place: str, where: str, recording: dict, home: Path, offset: float) -> Utterance:
    if recording.get("transforms"):
        raise UserError(f"{where}: recording {recording.get('id')!r} has transforms: save the cuts as audio first")
    sources = _get(recording, "sources", list, where)
    if len(sources) != 1 or sources[0].get("type") not in ("file", "command"):
        raise UserError(f"{where}: recording {recording.get('id')!r} is not one file")
    given = _get(sources[0], "source", str, where)
    path: Audio = Pipe(given) if sources[0]["type"] == "command" else _place(home, given)
    channels = sources[0].get("channels") or [0]
    start = offset + float(_get(row, "start", (int, float), place))
    end = start + float(_get(row, "duration", (int, float), place))
    length = float(_get(recording, "duration", (int, float), where))
    channel = row.get("channel", 0)
    name = _get(row, "id", str, place)
    return Utterance(
        id=name,
        recording=_get(recording, "id", str, where),
        path=path,
        start=start,
        end=None if abs(end - length) < 1e-6 else end,
        text=" ".join(str(row.get("text") or "").split()),
        speaker=str(row.get("speaker") or name),
        channel=channel if len(channels) > 1 and isinstance(channel, int) else None,
    )


def _place(home: Path, path: str) -> Path:
    inside = home / path
    return Path(path) if not inside.exists() and Path(path).exists() else inside


def _only(folder: Path, name: str) -> Path:
    """The file of recordings, or of supervisions, in a folder; lhotse's recipes put words around that."""
    found = sorted({*folder.glob(f"*{name}*.jsonl"), *folder.glob(f"*{name}*.jsonl.gz")})
    if len(found) != 1:
        raise UserError(
            f"{folder}: holds {len(found)} files *{name}*.jsonl.gz, not one; name cuts or a NeMo manifest instead"
        )
    return found[0]


def _rows(path: Path) -> Iterator[tuple[str, dict]]:
    opened: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise UserError(f"{path}:{number}: expected an object on each line")
                    yield f"{path}:{number}", row
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not lines of JSON ({error})") from None
    except (OSError, EOFError) as error:
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _get(row: dict, key: str, kind: Any, place: str) -> Any:
    value = row.get(key)
    if not isinstance(value, kind):
        raise UserError(f"{place}: no {key}, or not as NeMo and lhotse have it: {value!r}")
    return value
