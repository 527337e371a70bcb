"""`audiorec data …`: directories made from directories, and what is in them."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiorec.cli.app import AllowPipes, data_app
from audiorec.errors import ConfigError, UserError

if TYPE_CHECKING:
    from audiorec.data.utterance import Utterance

Folder = Annotated[Path, typer.Argument(help="A data directory.")]
Out = Annotated[Path, typer.Argument(help="The data directory to write.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the draw.")]


@data_app.command()
def subset(
    folder: Folder,
    out: Out,
    first: Annotated[int | None, typer.Option(min=1, help="The first N utterances.")] = None,
    random: Annotated[int | None, typer.Option(min=1, help="N utterances drawn at random.")] = None,
    per_speaker: Annotated[int | None, typer.Option(min=1, help="At most N utterances of each speaker.")] = None,
    speakers: Annotated[Path | None, typer.Option(help="All utterances of these speakers: a file of names.")] = None,
    utterances: Annotated[Path | None, typer.Option(help="These utterances: a file of names.")] = None,
    seed: Seed = 0,
) -> None:
    """Write a part of a data directory; a file of names has one at the beginning of each line."""
    from audiorec.data import select
    from audiorec.data.kaldi import write_data_dir

    given = [option for option in (first, random, per_speaker, speakers, utterances) if option is not None]
    if len(given) != 1:
        raise ConfigError("give one of --first, --random, --per-speaker, --speakers and --utterances")
    found = _tables(folder)
    if first:
        chosen = select.first(found, first)
    elif random:
        chosen = select.drawn(found, random, seed)
    elif per_speaker:
        chosen = select.per_speaker(found, per_speaker)
    elif speakers:
        chosen = select.of_speakers(found, _names(speakers))
    else:
        assert utterances
        chosen = select.listed(found, _names(utterances))
    write_data_dir(out, chosen)
    print(f"{out}: {len(chosen)} of {len(found)} utterances")


@data_app.command()
def split(
    folder: Folder,
    out: Annotated[Path, typer.Argument(help="The folder for the directories 1, 2, … of the parts.")],
    parts: Annotated[int, typer.Option(min=1, help="How many.")],
    by_utterance: Annotated[
        bool, typer.Option("--by-utterance", help="A speaker's utterances may lie in two parts.")
    ] = False,
) -> None:
    """Divide a data directory in parts of like size, all utterances of a speaker in one."""
    from audiorec.data import select
    from audiorec.data.kaldi import write_data_dir

    for number, part in enumerate(select.split(_tables(folder), parts, not by_utterance), 1):
        write_data_dir(out / str(number), part)
        print(f"{out / str(number)}: {len(part)} utterances")


@data_app.command()
def combine(
    out: Out, folders: Annotated[list[Path], typer.Argument(help="The data directories to put together.")]
) -> None:
    """Put data directories together in one."""
    from audiorec.data import select
    from audiorec.data.kaldi import write_data_dir

    found = select.combine(map(_tables, folders))
    write_data_dir(out, found)
    print(f"{out}: {len(found)} utterances")


@data_app.command()
def stats(folder: Folder, allow_pipes: AllowPipes = False) -> None:
    """Hours, speakers, lengths, characters, texts that come twice, sample rates."""
    from audiorec.data.durations import recording_formats
    from audiorec.data.kaldi import read_data_dir
    from audiorec.data.statistics import statistics

    found = read_data_dir(folder, require_text=False, allow_empty_text=True, allow_pipes=allow_pipes)
    print(statistics(found, seconds_of(folder, found), recording_formats(found)))


@data_app.command()
def utt2dur(folder: Folder, allow_pipes: AllowPipes = False) -> None:
    """Write utt2dur and reco2dur: the seconds of utterances and recordings, by the audio."""
    from audiorec.data.durations import recording_seconds
    from audiorec.data.kaldi import read_data_dir
    from audiorec.files import write_text

    found = read_data_dir(folder, require_text=False, allow_empty_text=True, allow_pipes=allow_pipes)
    seconds = seconds_of(folder, found, believe=False)
    lengths, _ = recording_seconds(folder, found, believe=False)
    for name, rows in ("utt2dur", seconds), ("reco2dur", lengths):
        write_text(folder / name, "".join(f"{key} {value:.6f}\n" for key, value in sorted(rows.items())))
        print(folder / name)


@data_app.command()
def spk2utt(folder: Folder) -> None:
    """Write spk2utt from utt2spk."""
    from audiorec.data.tables import speakers_utterances
    from audiorec.files import write_text

    speakers = speakers_utterances((utterance.id, utterance.speaker) for utterance in _tables(folder))
    lines = (f"{speaker} {' '.join(names)}\n" for speaker, names in sorted(speakers.items()))
    write_text(folder / "spk2utt", "".join(lines))
    print(folder / "spk2utt")


def _tables(folder: Path) -> "list[Utterance]":
    """The utterances; their commands are not run, so they need no permission."""
    from audiorec.data.kaldi import read_data_dir

    return read_data_dir(folder, require_text=False, allow_empty_text=True, allow_pipes=True)


def seconds_of(folder: Path, utterances: "list[Utterance]", believe: bool = True) -> dict[str, float]:
    """Utterance → its seconds. Raises UserError where one has no usable audio."""
    from audiorec.data.durations import utterance_seconds

    seconds, bad = utterance_seconds(folder, utterances, believe)
    if bad:
        name, why = next(iter(bad.items()))
        raise UserError(f"{folder}: {len(bad)} utterances have no usable audio, such as {name}: {why}")
    return seconds


def _names(path: Path) -> set[str]:
    return {line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}


class Manifest(str, Enum):
    """Another toolkit's way to name data."""

    lhotse = "lhotse"
    nemo = "nemo"


@data_app.command("import")
def import_(
    manifest: Annotated[
        Path,
        typer.Argument(help="NeMo's manifest, lhotse's cuts, or a folder of lhotse's recordings and supervisions."),
    ],
    out: Out,
    allow_pipes: AllowPipes = False,
) -> None:
    """Write a data directory from another toolkit's manifest."""
    from audiorec.data.kaldi import write_data_dir
    from audiorec.data.manifests import read_manifest
    from audiorec.data.utterance import Pipe

    found = read_manifest(manifest)
    commands = [utterance for utterance in found if isinstance(utterance.path, Pipe)]
    if commands and not allow_pipes:
        raise UserError(f"{manifest}: recording {commands[0].recording!r} is a command: --allow-pipes if you trust it")
    write_data_dir(out, found)
    print(f"{out}: {len(found)} utterances")


@data_app.command("export")
def export(
    folder: Folder,
    out: Annotated[Path, typer.Argument(help="The file (nemo) or the folder (lhotse) to write.")],
    format: Annotated[Manifest, typer.Option("--format")] = Manifest.lhotse,
    allow_pipes: AllowPipes = False,
) -> None:
    """Write another toolkit's manifest of a data directory; audio stays where it is."""
    from audiorec.data.kaldi import read_data_dir
    from audiorec.data.manifests import write_lhotse, write_nemo

    found = read_data_dir(folder, require_text=False, allow_empty_text=True, allow_pipes=allow_pipes)
    (write_nemo if format is Manifest.nemo else write_lhotse)(out, found, seconds_of(folder, found))
    print(f"{out}: {len(found)} utterances")
