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
    label: Annotated[list[str] | None, typer.Option(help="key=value to keep in score.json.")] = None,
    model: Annotated[Path | None, typer.Option(help="Normalise as this model's training, not as recorded.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Compare the texts as they stand.")] = False,
) -> None:
    """Word error rate with its 95 % interval; beside a decoding it leaves score.json and alignments.txt.

    Both texts are first normalised as the model's training texts were, which `audiorec decode` has recorded.
    """
    from audiorec.evaluation import alignments, differences, recorded_normalizer
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
    row = {name: getattr(result, name) for name in ("wer", "cer", "interval", "utterances", "words")}
    row["normalize"] = normalize and normalize.model_dump()
    if same_as:
        differ = differences(_texts(same_as), _texts(hypothesis))
        row["differences"] = len(differ)
        print(f"{len(differ)} utterances differ from {same_as}" + "".join(f"\n  {name}" for name in differ[:10]))
    if (hypothesis / "decode.json").exists():
        labels = dict(pair.split("=", 1) for pair in label or [])
        row = json.loads((hypothesis / "decode.json").read_text()) | row | labels
        write_text(hypothesis / "alignments.txt", "\n".join(alignments(ref, hyp, worst_first=True)))
        write_text(hypothesis / "score.json", json.dumps(row, indent=1) + "\n")


def _texts(path: Path) -> dict[str, str]:
    from audiorec.evaluation import read_text

    return read_text(path / "text" if path.is_dir() else path)


@app.command()
def report(
    scores: Annotated[list[Path], typer.Argument(help="score.json files.")],
    *,
    out: Annotated[Path, typer.Option(help="The Markdown page to write.")],
    title: Annotated[str, typer.Option()] = "Results",
    note: Annotated[list[str] | None, typer.Option(help="Lines for the end of the page.")] = None,
) -> None:
    """Write the page of results from score.json files."""
    from audiorec.evaluation import read_rows, write_results

    write_results(out, title, read_rows(scores), note or [])
    print(out)


@app.command()
def card(model: Model, scores: Annotated[list[Path], typer.Argument(help="score.json files of this model.")]) -> None:
    """Put measured word error rates into the model's card."""
    from audiorec.evaluation import read_rows, write_card

    print(write_card(model, read_rows(scores)))
