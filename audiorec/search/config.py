"""How to search: greedy or with a beam, and what helps the beam. Files become automata over a tokeniser's pieces."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from audiorec.config import Config
from audiorec.search.arpa import read_arpa
from audiorec.search.automaton import Automaton
from audiorec.search.hotwords import context_graph, encode_hotwords, read_hotwords
from audiorec.text import Normalizer, Tokenizer


class SearchConfig(Config):
    kind: Literal["greedy", "beam"] = "greedy"
    beam: PositiveInt = Field(4, description="hypotheses")
    window: int = Field(64, ge=2, description="tokens that a hypothesis may hold before the first must be decided")
    lm: Path | None = Field(None, description="n-gram over the tokenizer's pieces, in an ARPA file")
    lm_weight: float = Field(0.3, ge=0)
    lm_bonus: float = Field(0.0, description="added for each token: an n-gram makes long texts unlikely")
    hotwords: tuple[str, ...] | Path | None = Field(None, description="phrases, or a file of one phrase a line")
    hotwords_score: float = Field(1.5, gt=0, description="added to the log-probability of each token of a phrase")
    skip_blank: float | None = Field(
        None, gt=0, lt=1, description="skip frames that CTC finds blank with more than this"
    )

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> "SearchConfig":
        given = {name for name in self.model_fields_set if getattr(self, name) is not None}
        unused = sorted(given - {"kind", "skip_blank"}) if self.kind == "greedy" else []
        if unused:
            raise ValueError(f"{', '.join(unused)}: needs a beam: add --search beam (in Python kind='beam')")
        for owner, settings in {"lm": {"lm_weight", "lm_bonus"}, "hotwords": {"hotwords_score"}}.items():
            if owner not in given and given & settings:
                raise ValueError(f"{', '.join(sorted(given & settings))}: has no effect without {owner}")
        return self


GREEDY = SearchConfig()


def build_automata(config: SearchConfig, tokenizer: Tokenizer, normalize: Normalizer) -> tuple[Automaton, ...]:
    """The language model and the hotwords of a search. Raises UserError for a file or a phrase that does not fit."""
    automata = []
    if config.lm:
        automata.append(read_arpa(config.lm, tokenizer, config.lm_weight, config.lm_bonus))
    if config.hotwords:
        given, score = config.hotwords, config.hotwords_score
        phrases = read_hotwords(given, score) if isinstance(given, Path) else dict.fromkeys(given, score)
        automata.append(context_graph(encode_hotwords(phrases, tokenizer, normalize), tokenizer.size))
    return tuple(automata)
