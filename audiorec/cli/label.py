"""`audiorec label`: pseudo-labels, a data directory with the words that a recogniser says."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiorec.cli.app import AllowPipes, Device, Head, Language, Latency, Runtime, Threads, app
from audiorec.cli.data import AllowEmptyText
from audiorec.cli.datasets import seconds_of
from audiorec.cli.load import load_recognizer
from audiorec.cli.search import with_search
from audiorec.errors import ConfigError, UserError

if TYPE_CHECKING:
    from audiorec.data.filters import Said


@app.command()
@with_search
def label(
    model: Annotated[
        Path | None, typer.Argument(help="A model directory, a run that holds one, or an exported folder.")
    ] = None,
    *,
    data: Annotated[Path, typer.Option(help="Data directory; it needs no text, and its text is not looked at.")],
    out: Annotated[Path, typer.Option(help="The data directory to write.")],
    text: Annotated[
        Path | None, typer.Option(help="In place of MODEL: lines `utterance words…` that another recogniser said.")
    ] = None,
    min_seconds: Annotated[float, typer.Option(min=0, help="Of an utterance.")] = 0.0,
    max_seconds: Annotated[float | None, typer.Option(min=0, help="Of an utterance.")] = None,
    max_repeats: Annotated[
        int | None, typer.Option(min=1, help="Times that a word or a phrase may stand in a row: decoders may loop.")
    ] = None,
    letters_per_second: Annotated[
        tuple[float, float] | None, typer.Option(metavar="LEAST MOST", help="Letters of a second of audio.")
    ] = None,
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of an utterance's words, the mean.")
    ] = None,
    allow_empty_text: AllowEmptyText = False,
    head: Head = None,
    latency_ms: Latency = None,
    language: Language = None,
    threads: Threads = None,
    device: Device = "cpu",
    runtime: Runtime = "auto",
    allow_pipes: AllowPipes = False,
    search: dict[str, Any],
) -> None:
    """Write a data directory with the words that a model says of the recordings of another, for training; filters leave out what
    is likely wrong."""
    from dataclasses import replace

    from audiorec.data.filters import Filters, Said, sift
    from audiorec.data.kaldi import read_data_dir, write_data_dir
    from audiorec.evaluation.wer import read_text

    if (model is None) == (text is None):
        raise ConfigError("give a model, or --text FILE, what another recogniser said")
    if out.exists():
        raise UserError(f"{out}: is there already; choose another --out, or remove it")
    utterances = read_data_dir(data, require_text=False, allow_empty_text=True, allow_pipes=allow_pipes)
    filters = Filters(min_seconds, max_seconds, max_repeats, letters_per_second, min_confidence, allow_empty_text)
    seconds = seconds_of(data, utterances)
    if text:
        _refuse_a_models(head, latency_ms, language, threads, device, runtime, search, min_confidence)
        texts = {name: Said(words) for name, words in read_text(text).items()}
        if unknown := texts.keys() - seconds.keys():
            raise UserError(
                f"{text}: {len(unknown)} of its utterances, such as {min(unknown)}, are not in {data}; leave them out of it"
            )
    else:
        assert model
        recognizer = load_recognizer(model, device, head, search, latency_ms, threads, runtime, language=language)
        texts = _said(recognizer, [one for one in utterances if not filters.of_length(seconds[one.id])])
    kept, faults = sift(texts, seconds, filters)
    left_out = f"; left out: {', '.join(f'{n} {fault}' for fault, n in sorted(faults.items()))}" if faults else ""
    if not kept:
        raise UserError(f"{out}: none of {len(utterances)} utterances is left{left_out}")
    wanted = set(kept)
    write_data_dir(out, [replace(one, text=texts[one.id].text) for one in utterances if one.id in wanted])
    hours = sum(seconds[name] for name in kept) / 3600
    print(f"{out}: {len(kept)} of {len(utterances)} utterances, {hours:.2f} hours{left_out}")


def _said(recognizer: Any, utterances: list) -> "dict[str, Said]":
    """Utterance → what the recogniser says of it, offline."""
    from audiorec.data.filters import Said
    from audiorec.data.kaldi import Recordings
    from audiorec.evaluation.decode import batches, offline
    from audiorec.progress import progress

    texts = {}
    with progress("decoding", len(utterances)) as advance:
        for results, _, _ in offline(recognizer, batches(utterances, Recordings(), recognizer.sample_rate)):
            for name, result in results.items():
                sure = [word.confidence for word in result.words]
                texts[name] = Said(result.text, sum(sure) / len(sure) if sure else None)
            advance(len(results))
    return texts


def _refuse_a_models(
    head: str | None,
    latency_ms: float | None,
    language: str | None,
    threads: int | None,
    device: str,
    runtime: str,
    search: dict[str, Any],
    min_confidence: float | None,
) -> None:
    """Raise ConfigError for an option that has no meaning where no model decodes."""
    given = {"head": head, "latency-ms": latency_ms, "language": language, "threads": threads}
    given |= {"device": None if device == "cpu" else device, "runtime": None if runtime == "auto" else runtime}
    given |= {"min-confidence": min_confidence, "search": None if search["kind"] == "greedy" else search["kind"]}
    given |= {name.replace("_", "-"): value for name, value in search.items() if name != "kind"}
    if wrong := [name for name, value in given.items() if value is not None]:
        raise ConfigError(f"--{wrong[0]}: is of a model that decodes; with --text leave it out")
