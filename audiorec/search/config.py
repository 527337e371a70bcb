"""How to search: greedy or with a beam, and what helps the beam. Files become automata over a tokeniser's pieces."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from weakref import WeakValueDictionary

from pydantic import Field, PositiveInt, field_validator, model_validator

from audiorec.config import Config, parse
from audiorec.errors import ConfigError, UserError
from audiorec.search.arpa import read_arpa, read_words
from audiorec.search.automaton import Automaton
from audiorec.search.hotwords import context_graph, encode_hotwords, read_hotwords
from audiorec.search.lexicon import read_lexicon
from audiorec.search.words import Words
from audiorec.text import Normalizer, Tokenizer
from audiorec.text.tokenizer import UNKNOWN_PIECE

OWNERS = {  # of settings that have no effect without them
    "lm": {"lm_weight", "lm_bonus"},
    "hotwords": {"hotwords_score"},
    "lexicon": {"word_lm", "word_bonus", "unk_score"},
    "word_lm": {"word_lm_weight"},
    "fuse": {"fuse_weight", "fuse_bonus"},
    "rescore": {"rescore_weight", "rescore_bonus"},
}


class SearchConfig(Config):
    kind: Literal["greedy", "beam"] = "greedy"
    beam: PositiveInt = Field(4, description="hypotheses")
    beam_threshold: float | None = Field(
        None, gt=0, description="drop hypotheses that score so much less than the best one; null: none for that"
    )
    window: int = Field(64, ge=2, description="tokens that a hypothesis may hold before the first must be decided")
    lm: Path | None = Field(None, description="n-gram over the tokenizer's pieces, in an ARPA file")
    lm_weight: float = Field(0.3, ge=0)
    lm_bonus: float = Field(0.0, description="added for each token: an n-gram makes long texts unlikely")
    hotwords: tuple[str, ...] | Path | None = Field(None, description="phrases, or a file of one phrase a line")
    hotwords_score: float = Field(1.5, gt=0, description="added to the log-probability of each token of a phrase")
    lexicon: Path | None = Field(
        None, description="the words to say: lines `word symbol symbol …` of the tokenizer's symbols, or of words alone"
    )
    word_lm: Path | None = Field(None, description="n-gram over the lexicon's words, in an ARPA file")
    word_lm_weight: float = Field(0.5, ge=0)
    word_bonus: float = Field(0.0, description="added for each word")
    unk_score: float | None = Field(
        None, description="added for each word that the lexicon lacks, which pieces then spell; null: no such words"
    )
    ilm_weight: float | None = Field(
        None,
        gt=0,
        description="how much of a transducer's internal language model is taken off, where another one helps",
    )
    prior_weight: float | None = Field(
        None, ge=0, description="how much of the priors of CTC's symbols is taken off; 1 where words are searched"
    )
    fuse: Path | None = Field(
        None, description="folder of a recurrent language model of the tokenizer's pieces, which scores each token"
    )
    fuse_weight: float = Field(0.3, ge=0, description="of the log-probability that it gives a token")
    fuse_bonus: float = Field(0.0, description="added for each token: a language model makes long texts unlikely")
    rescore: Path | None = Field(
        None, description="folder of a recurrent language model, which chooses among the hypotheses at the end"
    )
    rescore_weight: float = Field(0.5, ge=0, description="of the log-probability that it gives a text")
    rescore_bonus: float = Field(
        0.0, description="added for each word then: a language model makes long texts unlikely"
    )
    skip_blank: float | None = Field(
        None, gt=0, lt=1, description="skip frames that CTC finds blank with more than this"
    )

    max_symbols: PositiveInt | None = Field(
        None, description="symbols that a transducer's greedy search may emit at one frame; null: 10"
    )

    @field_validator("hotwords", mode="before")
    @classmethod
    def _phrases_or_a_file(cls, value: Any) -> Any:
        phrases = isinstance(value, list | tuple) and all(isinstance(phrase, str) for phrase in value)
        if not phrases and not isinstance(value, str | Path | None):
            raise ValueError("give a list of phrases, or the name of a file of them")
        return value

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> "SearchConfig":
        given = {name for name in self.model_fields_set if getattr(self, name) is not None}
        unused = sorted(given - {"kind", "skip_blank", "max_symbols"}) if self.kind == "greedy" else []
        if unused:
            raise ValueError(f"{', '.join(unused)}: needs a beam: add --search beam (in Python kind='beam')")
        if self.kind == "beam" and "max_symbols" in given:
            raise ValueError("max_symbols: a beam emits one symbol a frame at most; leave it out, or search greedily")
        for owner, settings in OWNERS.items():
            if owner not in given and given & settings:
                raise ValueError(f"{', '.join(sorted(given & settings))}: has no effect without {owner}")
        if self.rescore and self.unk_score is not None:
            raise ValueError("rescore: knows the lexicon's words alone; leave unk_score out")
        return self


GREEDY = SearchConfig()


COLUMNS = 2  # automata that a row may have: an n-gram and hotwords
NGRAM, HOTWORDS = ("lm", "lm_weight", "lm_bonus"), ("hotwords", "hotwords_score")

_ngrams: WeakValueDictionary[tuple, Automaton] = WeakValueDictionary()  # those in use, of files that have not changed


def build_automata(
    config: SearchConfig, tokenizer: Tokenizer, normalize: Normalizer, words: Words | None = None
) -> tuple[Automaton, ...]:
    """The language model of pieces and the hotwords of a search, one of ``words`` where it has a lexicon.

    Raises UserError for a file or a phrase that does not fit.
    """
    return *_ngram(config, tokenizer), *_hotwords(config, tokenizer, normalize, words)


def build_words(config: SearchConfig, tokenizer: Tokenizer, normalize: Normalizer) -> Words | None:
    """The lexicon of a search, with the words of its hotwords, and what scores them; None where the search has none.

    Raises UserError for a file or a hotword that does not fit.
    """
    if config.lexicon is None:
        return None
    extra = [word for phrase in _phrases(config) for word in normalize(phrase).split()]
    lexicon = read_lexicon(config.lexicon, tokenizer, normalize, extra)
    lm = None
    if config.word_lm is not None:
        lm = read_words(config.word_lm, [*lexicon.words, UNKNOWN_PIECE], config.word_lm_weight, config.word_bonus)
    elif config.word_bonus:
        lm = Automaton.null(len(lexicon.words) + 1)
        lm.weights[:-1] = config.word_bonus
    if config.unk_score is not None and not any(tokenizer.decode(tokenizer.encode(w)) == w for w in lexicon.words if w):
        raise UserError(f"search.unk_score: a {tokenizer.kind} tokenizer cannot spell words; leave it out")
    return Words(lexicon, lm, config.unk_score, tokenizer.begins_word)


def session_automata(
    given: Mapping[str, Any],
    base: SearchConfig,
    automata: Sequence[Automaton],
    tokenizer: Tokenizer,
    normalize: Normalizer,
    words: Words | None = None,
) -> tuple[Automaton, ...]:
    """The automata of a session that was ``given`` keys of its own, in a search of ``base`` with its ``automata``.

    A session may give ``hotwords``, ``hotwords_score``, ``lm``, ``lm_weight`` and ``lm_bonus``; what it does not give is the
    base's, and None, or no phrase, is none. What stays as it was is the base's automaton itself, and an n-gram that another
    session has read is that one, so that a search holds each once. A string is the name of a file here: do not pass on what
    a stranger wrote. Raises ConfigError for another key and for a greedy search, UserError for what does not fit.
    """
    for key in given:
        if key not in NGRAM + HOTWORDS:
            accepted = ", ".join(HOTWORDS + NGRAM)
            raise ConfigError(
                f"search.{key}: a session may give {accepted}; set the rest for all where you load the model"
            )
    if given and base.kind == "greedy":
        raise ConfigError(f"search.{', '.join(given)}: needs a beam; load the model with search={{'kind': 'beam'}}")
    kept = {key: getattr(base, key) for key in NGRAM + HOTWORDS if key in base.model_fields_set}
    for part in (NGRAM, HOTWORDS):
        if given.get(part[0], part) is None:  # without it its settings have no effect
            kept = {key: value for key, value in kept.items() if key not in part}
    config = parse(SearchConfig, {"kind": base.kind, **kept, **given}, prefix="search")

    def same(part: tuple[str, ...]) -> bool:
        return all(getattr(config, key) == getattr(base, key) for key in part)

    count = 1 if base.lm else 0
    ngram, hotwords = automata[:count], automata[count:]
    return (
        *(ngram if same(NGRAM) else _ngram(config, tokenizer)),
        *(hotwords if same(HOTWORDS) else _hotwords(config, tokenizer, normalize, words)),
    )


def _ngram(config: SearchConfig, tokenizer: Tokenizer) -> list[Automaton]:
    path, settings = config.lm, (config.lm_weight, config.lm_bonus)
    if path is None:
        return []
    if not path.is_file():  # a pipe can be read once only; of what is missing the error tells
        return [read_arpa(path, tokenizer, *settings)]
    status = path.stat()
    key = path.resolve(), status.st_mtime_ns, status.st_size, *settings, tokenizer.kind, *tokenizer.pieces
    automaton = _ngrams.get(key)
    if automaton is None:
        automaton = _ngrams[key] = read_arpa(path, tokenizer, *settings)
    return [automaton]


def _hotwords(
    config: SearchConfig, tokenizer: Tokenizer, normalize: Normalizer, words: Words | None
) -> list[Automaton]:
    phrases = _phrases(config)
    return [context_graph(encode_hotwords(phrases, tokenizer, normalize, words), tokenizer.size)] if phrases else []


def _phrases(config: SearchConfig) -> dict[str, float]:
    """The hotwords, each with its score."""
    given, score = config.hotwords, config.hotwords_score
    return read_hotwords(given, score) if isinstance(given, Path) else dict.fromkeys(given or (), score)
