"""Commands that make models: train, average, tokenizer, lm."""

from pathlib import Path
from typing import Annotated

import typer

from audiorec.cli.app import Model, app
from audiorec.errors import UserError


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as recipes/lstm_ctc.yaml.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Settings as key.key=value.")] = None,
    *,
    train: Annotated[Path, typer.Option(help="Data directory to train on.")],
    valid: Annotated[Path, typer.Option(help="Data directory to choose checkpoints by.")],
    out: Annotated[Path, typer.Option(help="Run folder; the same command again goes on where it stopped.")],
    tokenizer: Annotated[Path | None, typer.Option(help="Trained tokenizer; else one is trained.")] = None,
) -> None:
    """Train a model; the run folder holds checkpoints, logs, curves.png and model/."""
    from audiorec.config import load_config
    from audiorec.training.config import RunConfig
    from audiorec.training.run import train as run

    print(run(load_config(RunConfig, recipe, overrides or []), train, valid, out, tokenizer))


@app.command()
def average(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    best: Annotated[int, typer.Option(min=1, help="How many of the best checkpoints.")] = 3,
) -> None:
    """Average the best checkpoints of a run into its model directory."""
    from audiorec.training.run import average

    print(average(run, best))


@app.command()
def tokenizer(
    data: Annotated[Path, typer.Argument(help="A data directory, or a file of one text a line.")],
    kind: Annotated[str, typer.Option(help="char, word, bpe or unigram.")] = "bpe",
    size: Annotated[int | None, typer.Option(help="Number of pieces, blank included.")] = None,
    case: Annotated[str, typer.Option(help="lower, upper or none: as in the recipe's tokenizer.normalize.")] = "none",
    unicode: Annotated[str, typer.Option(help="NFC or NFKC; likewise.")] = "NFC",
    punctuation: Annotated[bool, typer.Option(help="Whether it stays; likewise.")] = True,
    *,
    out: Annotated[Path, typer.Option(help="Folder to write it to.")],
) -> None:
    """Train a tokenizer on transcripts."""
    from audiorec.config import parse
    from audiorec.text import Normalizer, train_tokenizer

    normalize = parse(Normalizer, {"case": case, "unicode": unicode, "punctuation": punctuation}, "tokenizer.normalize")
    made = train_tokenizer(kind, [normalize(text) for text in _transcripts(data)], size)
    made.save(out)
    print(f"{out}: {made.kind}, {made.size} pieces")


@app.command()
def lm(
    model: Model,
    data: Annotated[Path, typer.Argument(help="A data directory, or a file of one text a line.")],
    order: Annotated[int, typer.Option(min=1, help="The longest n-grams.")] = 3,
    *,
    out: Annotated[Path, typer.Option(help="The ARPA file to write.")],
) -> None:
    """Count transcripts into an n-gram over a model's pieces, for decode --lm; small corpora only."""
    from audiorec.models import load_model
    from audiorec.search.ngram import write_ngram

    _, tokenizer, config = load_model(model)
    normalize = config.tokenizer.normalize
    write_ngram(out, [normalize(text) for text in _transcripts(data)], tokenizer, order)
    print(out)


def _transcripts(data: Path) -> list[str]:
    from audiorec.data.kaldi import read_data_dir

    if data.is_dir():
        return [utterance.text for utterance in read_data_dir(data, allow_empty_text=True)]
    try:
        return data.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{data}: not UTF-8 ({error}); convert it with iconv") from None
