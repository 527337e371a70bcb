"""`audiorec info`: a model described."""

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from audiorec.cli.app import app
from audiorec.errors import ConfigError


@app.command()
def info(
    model: Annotated[Path, typer.Argument(help="A model directory, a run that holds one, or a recipe.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="A recipe's settings, key.key=value.")] = None,
    latencies: Annotated[
        bool, typer.Option("--latencies", help="Only the other look-aheads to stream at, in ms.")
    ] = False,
) -> None:
    """Describe a model: sizes, work, latency and state, part by part."""
    from rich.console import Console
    from rich.table import Table

    from audiorec.models import AsrModel, describe, load_model, load_model_config, vocabulary

    if model.is_file():
        config = load_model_config(model, overrides or [])
        facts, tables = describe(AsrModel(config, vocabulary(config)).eval(), None, config)
    elif overrides:
        raise ConfigError(f"{overrides[0]}: settings go with a recipe; {model} is a trained model")
    else:
        asr, tokenizer, config = load_model(model)
        if latencies:
            asr = asr.exit()  # the head that decodes unless another is named
            others = [ms for ms in asr.latencies if math.isfinite(ms) and ms != asr.look_ahead_ms]
            print(" ".join(f"{ms:g}" for ms in others))
            return
        facts, tables = describe(asr, tokenizer, config)
    console = Console(width=None if sys.stdout.isatty() else 120)
    grid = Table(show_header=False, box=None)
    for fact in facts.items():
        grid.add_row(*fact)
    console.print(grid)
    for table in tables:
        grid = Table(box=None, title=table.title, title_justify="left", title_style="bold")
        for i, column in enumerate(table.columns):
            grid.add_column(column, justify="right" if i else "left", no_wrap=True)
        for row in table.rows:
            grid.add_row(*row)
        console.print("", grid)
