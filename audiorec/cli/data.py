"""`audiorec data …`: Kaldi data directories and corpora."""

from pathlib import Path
from typing import Annotated

import typer

from audiorec.cli.app import data_app
from audiorec.errors import UserError


@data_app.command()
def validate(
    folder: Annotated[Path, typer.Argument(help="A data directory.")],
    deep: Annotated[bool, typer.Option(help="Decode every recording to its end.")] = False,
    allow_empty_text: Annotated[
        bool, typer.Option("--allow-empty-text", help="Recordings without a word: for heads.classify alone.")
    ] = False,
) -> None:
    """Report every problem of a data directory."""
    from audiorec.data.validate import validate

    problems = validate(folder, deep=deep, allow_empty_text=allow_empty_text)
    for problem in problems:
        print(f"{folder}/{problem}")
    if problems:
        raise UserError(f"{folder}: {len(problems)} problems")
    print(f"{folder}: no problems")


@data_app.command()
def find(
    name: Annotated[str, typer.Argument(help="A corpus.")],
    cache: Annotated[Path, typer.Option(help="Where an archive is unpacked.")] = Path(".cache"),
) -> None:
    """Print the folder of a corpus, under $AUDIOREC_DATA or fetched from its public home."""
    from audiorec.data.corpora import find_corpus

    print(find_corpus(name, cache).resolve())
