"""Commands that make models: train, average, tokenizer."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from audiorec.cli.app import AllowPipes, Device, Model, app
from audiorec.errors import ConfigError, UserError


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as recipes/lstm_ctc.yaml.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Settings as key.key=value.")] = None,
    *,
    train: Annotated[
        list[Path], typer.Option(help="Data directory to train on; of a language model, any number of them, or texts.")
    ],
    valid: Annotated[list[Path], typer.Option(help="Data directory to choose checkpoints by; texts likewise.")],
    out: Annotated[Path, typer.Option(help="Run folder; the same command again goes on where it stopped.")],
    tokenizer: Annotated[Path | None, typer.Option(help="Trained tokenizer; else one is trained.")] = None,
    allow_pipes: AllowPipes = False,
) -> None:
    """Train a model; the run folder holds checkpoints, logs, curves.png and model/."""
    from audiorec.config import load_config
    from audiorec.models import is_language, read_delays
    from audiorec.training.config import RunConfig
    from audiorec.training.ranks import writes
    from audiorec.training.run import train as run

    if is_language(recipe):
        from audiorec.training.language import LanguageRunConfig, train_language_model

        if allow_pipes:
            raise ConfigError("--allow-pipes: a language model reads texts alone; leave it out")
        language = load_config(LanguageRunConfig, recipe, overrides or [])
        print(train_language_model(language, train, valid, out, tokenizer))
        return
    if len(train) > 1 or len(valid) > 1:
        raise ConfigError("--train, --valid: one data directory each; `audiorec data combine` makes one of several")
    settings = [*(overrides or []), *(["data.allow_pipes=true"] if allow_pipes else [])]
    config = load_config(RunConfig, recipe, settings)
    model = run(config, train[0], valid[0], out, tokenizer)
    if not writes():
        return  # of several processes the first one goes on
    if not read_delays(model):
        _measure_delays(model, valid[0], allow_pipes=config.data.allow_pipes)
        _measure_priors(model, valid[0], allow_pipes=config.data.allow_pipes)
    print(model)


@app.command()
def average(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    best: Annotated[int, typer.Option(min=1, help="How many of the best checkpoints.")] = 3,
    valid: Annotated[
        Path | None, typer.Option(help="Data directory to measure word times on: `audiorec times`.")
    ] = None,
    allow_pipes: AllowPipes = False,
) -> None:
    """Average the best checkpoints of a run into its model directory."""
    from audiorec.models import is_language
    from audiorec.training.run import average

    if (run / "config.yaml").is_file() and is_language(run / "config.yaml"):
        from audiorec.training.language import average_language_model

        if valid or allow_pipes:
            raise ConfigError("--valid, --allow-pipes: a language model has no word times; leave them out")
        print(average_language_model(run, best))
        return
    model = average(run, best)
    if valid:
        _measure_delays(model, valid, allow_pipes=allow_pipes)
        _measure_priors(model, valid, allow_pipes=allow_pipes)
    else:
        print(f"words have the times of their tokens until `audiorec times {run} --data DIR`", file=sys.stderr)
    print(model)


@app.command()
def times(
    model: Model,
    *,
    data: Annotated[Path, typer.Option(help="Data directory with texts: neither the training's nor the test's.")],
    device: Device = "cpu",
    allow_pipes: AllowPipes = False,
) -> None:
    """Measure how late a model emits its words; with that its words have a begin and an end."""
    if not _measure_delays(model, data, device, allow_pipes):
        raise UserError(f"{data}: no delay could be measured on it")


@app.command()
def priors(
    model: Model,
    *,
    data: Annotated[Path, typer.Option(help="Data directory, not the test's; its texts are not used.")],
    device: Device = "cpu",
    allow_pipes: AllowPipes = False,
) -> None:
    """Measure how often a model's CTC head finds each symbol; a beam may then take that off, by --prior-weight."""
    if not _measure_priors(model, data, device, allow_pipes):
        raise UserError(f"{model}: has no CTC head, and priors are CTC's")


@app.command()
def tokenizer(
    data: Annotated[Path, typer.Argument(help="A data directory, or a file of one text a line.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="The recipe's settings, as key.key=value.")] = None,
    *,
    recipe: Annotated[Path | None, typer.Option(help="Take the settings from this recipe's `tokenizer`.")] = None,
    kind: Annotated[str | None, typer.Option(help="char, word, phone, bpe or unigram.", show_default="bpe")] = None,
    size: Annotated[
        int | None, typer.Option(help="Number of pieces, blank included.", show_default="all; 500 for bpe, unigram")
    ] = None,
    lexicon: Annotated[Path | None, typer.Option(help="Of phone: a file of lines `word phone phone …`.")] = None,
    unsaid: Annotated[
        str | None, typer.Option(help="Of phone, words not in it: refuse, skip or guess.", show_default="refuse")
    ] = None,
    case: Annotated[str | None, typer.Option(help="lower, upper or none.", show_default="none")] = None,
    unicode: Annotated[str | None, typer.Option(help="NFC or NFKC.", show_default="NFC")] = None,
    punctuation: Annotated[bool | None, typer.Option(help="Keep it or not.", show_default="keep")] = None,
    out: Annotated[Path, typer.Option(help="Folder to write it to.")],
) -> None:
    """Train a tokenizer on transcripts, or on the labels that a recipe learns, with the settings of a recipe or of the options,
    which come before it."""
    from audiorec.data.targets import TEXT, Task, tokenizer_texts
    from audiorec.data.texts import read_texts
    from audiorec.text import TOKENIZERS, describe_size, save_tokenizer, train_tokenizer

    settings: dict[str, Any] = {}
    tasks: list[Task] = [TEXT]
    if recipe:
        from audiorec.models import load_model_config

        model = load_model_config(recipe, overrides or [])
        settings, tasks = model.tokenizer.model_dump(), model.tasks
    elif overrides:
        raise ConfigError(f"{overrides[0]}: settings go with a recipe; give --recipe")
    settings |= _given(kind=kind, size=size, lexicon=lexicon, unsaid=unsaid)
    settings["normalize"] = settings.get("normalize", {}) | _given(case=case, unicode=unicode, punctuation=punctuation)
    config = TOKENIZERS.parse(settings)
    trained = train_tokenizer(config, tokenizer_texts(data, tasks) if data.is_dir() else read_texts(data))
    save_tokenizer(out, trained, config)
    print(f"{out}: {describe_size(trained, config)}")


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _measure_priors(model: Path, data: Path, device: str = "cpu", allow_pipes: bool = False) -> bool:
    """Write how often each CTC head of a model finds each symbol; whether it has one."""
    from audiorec.evaluation.priors import measure_priors
    from audiorec.models import find_model, load_model_config
    from audiorec.recognizer import load
    from audiorec.search.priors import save_priors

    folder = find_model(model)
    kinds = load_model_config(folder / "config.yaml").heads
    heads = [name for name, head in kinds.items() if head.kind == "ctc"]
    if heads:
        save_priors(folder, {head: measure_priors(load(model, device, head), data, allow_pipes) for head in heads})
    return bool(heads)


def _measure_delays(model: Path, data: Path, device: str = "cpu", allow_pipes: bool = False) -> bool:
    """Write how late each head of a model emits its words, at each of its latencies; whether one could be measured."""
    from audiorec.evaluation.times import measure_delay
    from audiorec.models import delay_name, find_model, load_model_config, write_delays
    from audiorec.models.heads import HEADS
    from audiorec.recognizer import load

    config = load_model_config(find_model(model) / "config.yaml")
    delays = {}
    worded = [name for name, head in config.heads.items() if HEADS.find(head.kind).task.needs_text]
    for head in worded:
        recognizer = load(model, device, head)
        latencies: list[float | None] = [*recognizer.model.latencies] or [None]
        for ms in latencies:
            view = recognizer if ms is None else recognizer.at_latency(ms)
            name = delay_name(head, ms)
            if delay := measure_delay(view, data, config.tokenizer.normalize, allow_pipes):
                delays[name] = delay
                begin, end = delay.begin[1], delay.end[1]
                print(
                    f"{name}: words begin {begin:+.2f} s from their first token, end {end:+.2f} s from their last one; "
                    f"{delay.tail:.2f} s of silence bring every last word"
                )
            else:
                print(f"{name}: words have the times of their tokens: in {data} too few begin or end at a silence")
    if delays:
        write_delays(model, delays)
    return bool(delays)
