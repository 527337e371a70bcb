"""`audiorec data …`: directories with audio of their own, made from others."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from audiorec.cli.app import AllowPipes, data_app
from audiorec.cli.datasets import Folder, Out, Seed, seconds_of
from audiorec.errors import ConfigError


@data_app.command()
def degrade(
    folder: Folder,
    out: Out,
    snr: Annotated[
        float | None, typer.Option(help="Add noise: speech to noise in decibels, of whole utterances.")
    ] = None,
    noise: Annotated[Path | None, typer.Option(help="Recordings of noise: a folder, or a corpus's name.")] = None,
    noise_files: Annotated[list[str] | None, typer.Option(help="Patterns of files in it.", show_default="all")] = None,
    reverberate: Annotated[bool, typer.Option("--reverberate", help="Speak each utterance in a drawn room.")] = False,
    telephone: Annotated[bool, typer.Option("--telephone", help="Leave the band from 300 to 3400 Hz.")] = False,
    seed: Seed = 0,
    allow_pipes: AllowPipes = False,
) -> None:
    """Copy a data directory as it would sound in rooms, in noise, on the telephone: to see what that does to a model.

    Texts and lengths stay. The same seed gives the same copy; whatever the ratio, an utterance has the same noise.
    """
    from audiorec.audio.augment import AugmentConfig, MixConfig, RoomConfig
    from audiorec.data.copies import write_copy
    from audiorec.data.degrade import degraded
    from audiorec.data.kaldi import read_data_dir

    if (snr is None) != (noise is None):
        raise ConfigError("noise needs both --snr and --noise")
    if snr is None and not (reverberate or telephone):
        raise ConfigError("give --snr with --noise, --reverberate or --telephone, or several of them")
    changes = AugmentConfig(
        recordings=noise or Path(),
        room=RoomConfig(files=[], simulated=1, seconds=(0.15, 0.5), probability=1) if reverberate else None,
        noise=MixConfig(files=noise_files or ["**/*"], snr_db=(snr, snr), probability=1) if snr is not None else None,
        telephone_probability=float(telephone),
    )
    found = read_data_dir(folder, require_text=False, allow_empty_text=True, allow_pipes=allow_pipes)
    print(f"{out}: {write_copy(out, degraded(found, changes, seed))} utterances")


@data_app.command()
def join(
    folder: Folder,
    out: Out,
    count: Annotated[int, typer.Option(min=1, help="Utterances in one.")],
    gap: Annotated[float, typer.Option(min=0, help="Seconds of silence between them.")] = 0.2,
    allow_pipes: AllowPipes = False,
) -> None:
    """Join the utterances of each speaker to longer ones, audio and texts, in their order.

    The last of a speaker may hold fewer, so all words are there however many are joined.
    """
    from audiorec.data.copies import write_copy
    from audiorec.data.join import joined
    from audiorec.data.kaldi import read_data_dir

    found = read_data_dir(folder, require_text=False, allow_empty_text=True, allow_pipes=allow_pipes)
    print(f"{out}: {write_copy(out, joined(found, count, gap))} utterances of {len(found)}")


class Format(str, Enum):
    """What a recording in a tar file is kept as."""

    flac = "flac"
    wav = "wav"
    opus = "opus"
    copy = "copy"


@data_app.command()
def shard(
    folder: Folder,
    out: Out,
    size: Annotated[int | None, typer.Option(min=1, help="Utterances in a tar file.", show_default="1000")] = None,
    shard_mb: Annotated[
        float | None, typer.Option(min=0, help="Instead of --size: megabytes of audio in a tar file, or less.")
    ] = None,
    format: Annotated[
        Format, typer.Option("--format", help="What utterances are kept as; copy: the files as they are.")
    ] = Format.flac,
    allow_pipes: AllowPipes = False,
) -> None:
    """Copy a data directory with its audio in few tar files, instead of a file for each recording.

    Segments are cut out, channels averaged or picked, samples kept at 16 bits and their own rate; `copy` does none of these.
    The tar files hold each utterance as ID.flac and ID.txt, as webdataset reads them.
    """
    from audiorec.data.kaldi import read_data_dir
    from audiorec.data.shards import COUNT, write_shards

    if size and shard_mb:
        raise ConfigError("give --size or --shard-mb")
    count = None if shard_mb else size or COUNT
    found = read_data_dir(folder, require_text=False, allow_empty_text=True, allow_pipes=allow_pipes)
    archives = write_shards(out, found, seconds_of(folder, found), format.value, count, shard_mb)
    print(f"{out}: {len(found)} utterances in {archives} tar files")
