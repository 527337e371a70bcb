"""Commands of language models: lm, perplexity."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from audiorec.cli.app import app
from audiorec.errors import ConfigError, UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Number = TypeVar("Number", int, float)

Texts = Annotated[list[Path], typer.Argument(help="Data directories, or files of one text a line.")]
Pieces = Annotated[
    Path | None, typer.Option("--tokenizer", help="A model or a tokenizer's folder: its pieces instead of words.")
]
Case = Annotated[str | None, typer.Option(help="lower, upper or none: of words.", show_default="none")]


@app.command()
def lm(
    texts: Texts,
    *,
    out: Annotated[Path, typer.Option(help="The ARPA file to write; .gz packs it.")],
    order: Annotated[int, typer.Option(min=1, max=5, help="The longest n-grams.")] = 3,
    tokenizer: Pieces = None,
    vocabulary: Annotated[
        Path | None, typer.Option(help="File of words, the first of each line, a lexicon too; others are <unk>.")
    ] = None,
    prune: Annotated[
        str, typer.Option(help="0,0,1: leave out what occurs so often or less, for each order.", show_default="nothing")
    ] = "0",
    tune: Annotated[
        Path | None, typer.Option(help="Interpolate the texts' models, weighted for this text; else all are one text.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="0.75,0.25: interpolate with these weights.")] = None,
    case: Case = None,
) -> None:
    """Count texts into an n-gram (modified Kneser-Ney) of words, or of a model's pieces for decode --lm."""
    from audiorec.search.arpa import write_ngram
    from audiorec.search.kneser_ney import Vocabulary, estimate
    from audiorec.search.mixture import mix, tune_weights

    if ((tune or weights) and len(texts) < 2) or (tune and weights):
        raise ConfigError("lm: --tune or --weights, one of them, goes with two texts or more")
    if tokenizer and (vocabulary or case):
        raise ConfigError("lm: --tokenizer knows its pieces and its case; leave --vocabulary and --case out")
    cut = _cutter(tokenizer, case)
    words = Vocabulary(_words(tokenizer, vocabulary))
    groups = [[path] for path in texts] if tune or weights else [texts]
    encoded = [words.encode(str(group[0]), cut(group)) for group in groups]
    for group, text in zip(groups, encoded, strict=True):
        if vocabulary:
            _warn_of_unknown(group[0], vocabulary, text)
    models = [estimate(text, words, order, _numbers("prune", prune, int)) for text in encoded]
    model = models[0]
    if tune or weights:
        words.closed = True
        shares = _numbers("weights", weights or "", float) if weights else []
        shares = tune_weights(models, words.encode(str(tune), cut([tune]))).tolist() if tune else shares
        if len(shares) != len(texts) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-3:
            raise ConfigError(f"lm: --weights {weights}: give one of each text; their sum is 1")
        for path, share in zip(texts, shares, strict=True):
            print(f"{share:.4f} {path}", file=sys.stderr)
        model = mix(models, shares)
    write_ngram(out, model)
    print(out)


@app.command()
def perplexity(
    lm: Annotated[
        Path, typer.Argument(help="An ARPA file, a binary of KenLM, or a recurrent language model's folder.")
    ],
    texts: Texts,
    *,
    tokenizer: Pieces = None,
    case: Case = None,
) -> None:
    """How well a language model predicts texts: its perplexity, and how many words or pieces it does not know."""
    from audiorec.search.perplexity import perplexity

    if lm.is_dir():
        if tokenizer or case:
            raise ConfigError(
                "perplexity: a recurrent model knows its pieces and its case; leave --tokenizer and --case out"
            )
        _recurrent(lm, texts)
        return
    cut = _cutter(tokenizer, case)
    for name, found in perplexity(lm, {str(path): list(cut([path])) for path in texts}).items():
        print(
            f"{name}: perplexity {found.with_unknown:.2f}, without unknown words {found.without_unknown:.2f}; "
            f"{found.sentences} sentences, {found.tokens - found.sentences} words, {found.unknown} unknown "
            f"({found.unknown_rate:.2%})"
        )


def _recurrent(folder: Path, texts: list[Path]) -> None:
    from audiorec.data.texts import read_texts
    from audiorec.evaluation.language import predicted

    for name, found in predicted(folder, {str(path): read_texts(path) for path in texts}).items():
        print(
            f"{name}: perplexity {found.per_word:.2f} a word, {found.per_piece:.2f} a piece; {found.sentences} sentences, "
            f"{found.words} words, {found.pieces} pieces, {found.unknown} unknown"
        )


def _cutter(tokenizer: Path | None, case: str | None) -> Callable[[Iterable[Path]], Iterator[list[str]]]:
    """From files to their sentences, in words or in a tokenizer's pieces."""
    from audiorec.config import parse
    from audiorec.data.texts import read_texts
    from audiorec.text import Normalizer, load_normalizer, load_tokenizer

    if tokenizer is None:
        if case is None:
            return lambda paths: (line.split() for path in paths for line in read_texts(path))
        words = parse(Normalizer, {"case": case})
        return lambda paths: (words(line).split() for path in paths for line in read_texts(path))
    folder = find_tokenizer(tokenizer)
    normalize, known = load_normalizer(folder) or Normalizer(), load_tokenizer(folder)
    return lambda paths: (
        [known.pieces[i] for i in known.encode(normalize(line))] for path in paths for line in read_texts(path)
    )


def find_tokenizer(path: Path) -> Path:
    """The folder of a tokenizer: a model's, a run's, or its own."""
    return path / "model" if (path / "model").is_dir() else path


def _words(tokenizer: Path | None, vocabulary: Path | None) -> list[str] | None:
    """The words that an n-gram may have; None: all of its text."""
    from audiorec.data.texts import read_texts
    from audiorec.text import UNKNOWN, load_tokenizer

    if tokenizer:
        return load_tokenizer(find_tokenizer(tokenizer)).pieces[UNKNOWN:]  # without the blank
    if vocabulary is None:
        return None
    words = [re.sub(r"\(\d+\)$", "", line.split()[0]) for line in read_texts(vocabulary) if line.strip()]
    if not words:
        raise UserError(f"{vocabulary}: holds no word; write one a line")
    return words


def _warn_of_unknown(path: Path, vocabulary: Path | None, text: "NDArray") -> None:
    from audiorec.search.ngram import UNKNOWN_ID

    words, unknown = int((text > UNKNOWN_ID + 2).sum()), int((text == UNKNOWN_ID).sum())
    if unknown > 9 * words:
        raise UserError(f"{path}: nearly none of its words is in {vocabulary}: of another language or case (--case)")
    if unknown:
        print(f"{path}: {unknown} of {words + unknown} words are not in {vocabulary}", file=sys.stderr)


def _numbers(name: str, text: str, kind: Callable[[str], Number]) -> list[Number]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"lm: --{name} {text}: expected numbers with commas between them") from None
