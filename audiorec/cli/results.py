"""Commands that write figures: score, report, card."""

import json
from pathlib import Path
from typing import Annotated

import typer

from audiorec.cli.app import Model, app
from audiorec.errors import ConfigError


@app.command()
def score(
    reference: Annotated[Path, typer.Argument(help="Kaldi text, or a data directory.")],
    hypothesis: Annotated[Path, typer.Argument(help="Kaldi text, or a folder that `audiorec decode` wrote.")],
    same_as: Annotated[Path | None, typer.Option(help="Count utterances that differ from these.")] = None,
    against: Annotated[Path | None, typer.Option(help="Another system's texts: is the difference chance?")] = None,
    label: Annotated[list[str] | None, typer.Option(help="key=value to keep in score.json.")] = None,
    model: Annotated[Path | None, typer.Option(help="Normalise as this model's training, not as recorded.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Compare the texts as they stand.")] = False,
    kaldi: Annotated[bool, typer.Option("--kaldi", help="Print Kaldi's %WER and %SER lines too.")] = False,
) -> None:
    """Word error rate with its 95 % interval; beside a decoding it leaves score.json and alignments.txt.

    Both texts are first normalised as the model's training texts were, which `audiorec decode` has recorded.
    """
    from audiorec.evaluation import (
        alignments,
        compare,
        differences,
        errors_and_words,
        kaldi_score,
        oracle,
        read_nbest,
        recorded_normalizer,
    )
    from audiorec.evaluation import score as score_texts
    from audiorec.files import write_text
    from audiorec.models import find_model, load_model_config

    ref, hyp = _texts(reference), _texts(hypothesis)
    if raw and model:
        raise ConfigError("--raw goes without --model: it compares the texts as they stand")
    if model:
        normalize = load_model_config(find_model(model) / "config.yaml").tokenizer.normalize
    else:
        normalize = None if raw else recorded_normalizer(hypothesis)
    if normalize:
        ref, hyp = ({name: normalize(text) for name, text in texts.items()} for texts in (ref, hyp))
    result = score_texts(ref, hyp)
    print(result)
    if not normalize and not raw:
        print(f"without normalisation: {hypothesis} has no decode.json that records it; --model MODEL names a model's")
    if against:
        other = {name: normalize(text) if normalize else text for name, text in _texts(against).items()}
        found = compare(ref, hyp, other)
        low, high = (f"{100 * bound:+.2f}" for bound in found.interval)
        print(f"{100 * found.difference:+.2f} % WER against {against}, 95 % [{low}, {high}], p {found.p:.4f}")
    row = {name: getattr(result, name) for name in ("wer", "cer", "interval", "utterances", "words")}
    row["normalize"] = normalize and normalize.model_dump()
    if kaldi:
        counts = kaldi_score(ref, hyp)
        print(counts)
        row["kaldi"] = counts._asdict()
    if (hypothesis / "nbest").exists():
        nbest = read_nbest(hypothesis / "nbest")
        if normalize:
            nbest = {name: [normalize(text) for text in texts] for name, texts in nbest.items()}
        row["oracle"] = oracle(ref, nbest)
        print(f"oracle of the n-best: WER {100 * row['oracle']:.2f} %")
    if same_as:
        same, given = _texts(same_as), _texts(hypothesis)
        differ = differences(same, given)
        row["differences"], row["different_words"] = len(differ), int(errors_and_words(same, given)[:, 0].sum())
        print(
            f"{row['different_words']} words, {len(differ)} utterances differ from {same_as}"
            + "".join(f"\n  {name}" for name in differ[:10])
        )
    if (hypothesis / "decode.json").exists():
        labels = dict(pair.split("=", 1) for pair in label or [])
        row = json.loads((hypothesis / "decode.json").read_text()) | row | labels
        if streaming := row.get("streaming"):
            print(_told(streaming))
        write_text(hypothesis / "alignments.txt", "\n".join(alignments(ref, hyp, worst_first=True)))
        write_text(hypothesis / "score.json", json.dumps(row, indent=1) + "\n")


def _told(streaming: dict) -> str:
    """The figures of a stream in a line."""
    parts = [
        f"{name} {1000 * found['median']:.0f} ms (95 % below {1000 * found['p95']:.0f})"
        for name, key in (("first partial", "first_partial"), ("words", "word_delay"), ("end", "finalize"))
        if (found := streaming[key])
    ]
    parts += [f"{100 * streaming['changed']:.2f} % of the words changed"] if streaming["changed"] is not None else []
    return "delays: " + ", ".join([*parts, f"real-time factor {streaming['real_time_factor']:.3f}"])


def _texts(path: Path) -> dict[str, str]:
    from audiorec.evaluation import read_text

    return read_text(path / "text" if path.is_dir() else path)


@app.command()
def report(
    scores: Annotated[list[Path], typer.Argument(help="score.json files, or one run folder.")],
    *,
    out: Annotated[Path | None, typer.Option(help="The Markdown page to write; of a run, report.md in it.")] = None,
    title: Annotated[str, typer.Option()] = "Results",
    note: Annotated[list[str] | None, typer.Option(help="Lines for the end of the page.")] = None,
    rows: Annotated[Path | None, typer.Option(help="A file that keeps the rows of this page for the next one.")] = None,
    data: Annotated[Path | None, typer.Option(help="Of a run: where its test data are now.")] = None,
) -> None:
    """Write the page of results from score.json files; of a run folder an HTML page too, which works offline.

    With --rows the page also shows the models of the file that were not measured anew.
    """
    from audiorec.evaluation import read_rows, with_kept, write_page, write_results, write_rows

    if run := next((path for path in scores if path.is_dir()), None):
        if len(scores) > 1 or rows:
            raise ConfigError("report takes one run folder, or score.json files, whose rows --rows keeps")
        out = out or run / "report.md"
        if out.suffix == ".html":
            raise ConfigError(f"--out {out}: names the Markdown page; the HTML page has the same name beside it")
        found = write_page(run, out.with_suffix(".html"), data)
        print(out.with_suffix(".html"))
    elif data:
        raise ConfigError("--data goes with a run folder: score.json files have no audio")
    elif out is None:
        raise ConfigError("report of score.json files needs --out, the page to write")
    else:
        found = read_rows(scores)
    if rows:
        found = with_kept(rows, found)
    write_results(out, title, found, note or [])
    if rows:
        write_rows(rows, found)
    print(out)


@app.command()
def card(model: Model, scores: Annotated[list[Path], typer.Argument(help="score.json files of this model.")]) -> None:
    """Put measured word error rates into the model's card."""
    from audiorec.evaluation import read_rows, write_card

    print(write_card(model, read_rows(scores)))
