"""The options of a search, which several commands take."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer


def _search(
    *,
    search: Annotated[str, typer.Option(help="greedy or beam.")] = "greedy",
    beam: Annotated[int | None, typer.Option(min=1, show_default="4", help="Hypotheses of the beam.")] = None,
    beam_threshold: Annotated[
        float | None, typer.Option(show_default="none", help="Drop hypotheses so far below the best.")
    ] = None,
    lm: Annotated[Path | None, typer.Option(help="ARPA n-gram over the tokenizer's pieces; needs a beam.")] = None,
    lm_weight: Annotated[float | None, typer.Option(min=0, show_default="0.3", help="Weight of the n-gram.")] = None,
    lm_bonus: Annotated[
        float | None, typer.Option(show_default="0", help="Bonus of each token: an n-gram makes long texts unlikely.")
    ] = None,
    hotwords: Annotated[Path | None, typer.Option(help="Phrases, one a line, `phrase :2.5`; needs a beam.")] = None,
    hotwords_score: Annotated[
        float | None, typer.Option(show_default="1.5", help="Bonus of each token of a phrase.")
    ] = None,
    lexicon: Annotated[
        Path | None, typer.Option(help="The words to say, `word symbol symbol …` a line, or words alone; needs a beam.")
    ] = None,
    word_lm: Annotated[Path | None, typer.Option(help="ARPA n-gram over the words of the lexicon.")] = None,
    word_lm_weight: Annotated[float | None, typer.Option(min=0, show_default="0.5", help="Weight of it.")] = None,
    word_bonus: Annotated[float | None, typer.Option(show_default="0", help="Bonus of each word.")] = None,
    unk_score: Annotated[
        float | None, typer.Option(show_default="none", help="Score of each word the lexicon lacks; pieces spell it.")
    ] = None,
    ilm_weight: Annotated[
        float | None, typer.Option(min=0, show_default="0", help="Weight of a transducer's internal LM, taken off.")
    ] = None,
    prior_weight: Annotated[
        float | None, typer.Option(min=0, show_default="0", help="Weight of the priors of CTC's symbols, taken off.")
    ] = None,
    fuse: Annotated[
        Path | None, typer.Option(help="Language model of the tokenizer's pieces that scores each.")
    ] = None,
    fuse_weight: Annotated[float | None, typer.Option(min=0, show_default="0.3", help="Weight of it.")] = None,
    fuse_bonus: Annotated[float | None, typer.Option(show_default="0", help="Bonus of each token then.")] = None,
    rescore: Annotated[
        Path | None, typer.Option(help="Language model that chooses among the hypotheses at the end.")
    ] = None,
    rescore_weight: Annotated[float | None, typer.Option(min=0, show_default="0.5", help="Weight of it.")] = None,
    rescore_bonus: Annotated[float | None, typer.Option(show_default="0", help="Bonus of each word then.")] = None,
    skip_blank: Annotated[float | None, typer.Option(help="Skip frames CTC finds blank, of a hybrid.")] = None,
    max_symbols: Annotated[
        int | None, typer.Option(min=1, show_default="10", help="Symbols a frame, of a transducer's greedy search.")
    ] = None,
) -> dict[str, Any]:
    """The keys of a SearchConfig, those that were given."""
    settings = {
        "kind": search,
        "beam": beam,
        "beam_threshold": beam_threshold,
        "lm": lm,
        "lm_weight": lm_weight,
        "lm_bonus": lm_bonus,
    }
    settings |= {"hotwords": hotwords, "hotwords_score": hotwords_score, "lexicon": lexicon}
    settings |= {"word_lm": word_lm, "word_lm_weight": word_lm_weight, "word_bonus": word_bonus}
    settings |= {"unk_score": unk_score, "ilm_weight": ilm_weight, "skip_blank": skip_blank, "max_symbols": max_symbols}
    settings |= {"prior_weight": prior_weight, "fuse": fuse, "fuse_weight": fuse_weight, "fuse_bonus": fuse_bonus}
    settings |= {"rescore": rescore, "rescore_weight": rescore_weight, "rescore_bonus": rescore_bonus}
    return {name: value for name, value in settings.items() if value is not None}


def with_search(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a search; it gets them as one argument ``search``, the keys of a SearchConfig."""
    options = inspect.signature(_search).parameters
    own = inspect.signature(command).parameters
    shared = [parameter for name, parameter in own.items() if name != "search"]

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        search = _search(**{name: arguments.pop(name) for name in options})
        command(**arguments, search=search)

    parameters = [*shared, *options.values()]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
