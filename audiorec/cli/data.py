"""`audiorec data …`: Kaldi data directories and corpora."""

from pathlib import Path
from typing import Annotated

import typer

from audiorec.cli.app import AllowPipes, data_app
from audiorec.errors import UserError

LINES = 10

AllowEmptyText = Annotated[
    bool, typer.Option("--allow-empty-text", help="Recordings without a word: for heads.classify alone.")
]
Limit = Annotated[int, typer.Option(min=0, help="Lines printed for each kind of problem; 0: all.")]


@data_app.command()
def validate(
    folder: Annotated[Path, typer.Argument(help="A data directory.")],
    deep: Annotated[bool, typer.Option(help="Decode every recording to its end.")] = False,
    allow_empty_text: AllowEmptyText = False,
    allow_pipes: AllowPipes = False,
    limit: Limit = LINES,
) -> None:
    """Report every problem of a data directory."""
    from audiorec.data.validate import validate

    _report(folder, validate(folder, deep=deep, allow_empty_text=allow_empty_text, allow_pipes=allow_pipes), limit)
    print(f"{folder}: no problems")


@data_app.command()
def fix(
    folder: Annotated[Path, typer.Argument(help="A data directory.")],
    allow_empty_text: AllowEmptyText = False,
    allow_pipes: AllowPipes = False,
    limit: Limit = LINES,
) -> None:
    """Mend the tables of a data directory: sort them, leave out utterances that are not in all, make spk2utt anew.

    What the files held before is in FOLDER/.backup.
    """
    from audiorec.data.fix import fix_data_dir
    from audiorec.data.validate import validate

    for change in fix_data_dir(folder, allow_empty_text):
        print(f"{folder}/{change}")
    _report(folder, validate(folder, allow_empty_text=allow_empty_text, allow_pipes=allow_pipes), limit)
    print(f"{folder}: no problems")


def _report(folder: Path, problems: list, limit: int) -> None:
    """Print the problems and fail, if there are any."""
    from audiorec.data.validate import shorten

    for line in shorten(problems, limit):
        print(f"{folder}/{line}")
    if problems:
        raise UserError(f"{folder}: {len(problems)} problem{'s' if len(problems) > 1 else ''}")


@data_app.command()
def find(
    name: Annotated[str, typer.Argument(help="A corpus.")],
    cache: Annotated[Path, typer.Option(help="Where an archive is unpacked.")] = Path(".cache"),
) -> None:
    """Print the folder of a corpus, under $AUDIOREC_DATA or fetched from its public home."""
    from audiorec.data.corpora import find_corpus

    print(find_corpus(name, cache).resolve())
