"""Search: encoder frames in, tokens out, with state, so that a stream and a file give the same tokens.

What builds n-grams, hotwords and lexicons needs no torch; a module that does is imported when one of its names is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from audiorec.search.automaton import Automaton
from audiorec.search.config import COLUMNS, GREEDY, SearchConfig, build_automata, build_words, session_automata
from audiorec.search.words import Words

if TYPE_CHECKING:
    from audiorec.search.align import Alignment, align_ctc, align_transducer
    from audiorec.search.blank_skip import BlankSkip
    from audiorec.search.classify import ClassifySearch
    from audiorec.search.ctc import CtcGreedySearch
    from audiorec.search.ctc_beam import CtcBeamSearch
    from audiorec.search.endpoint import search_parts
    from audiorec.search.frames import FramesSearch
    from audiorec.search.fusion import Fusion
    from audiorec.search.offline import Search, conclude, decode
    from audiorec.search.tokens import Tokens
    from audiorec.search.transducer import TdtGreedySearch, TransducerGreedySearch
    from audiorec.search.transducer_beam import TransducerBeamSearch

__all__ = [
    "COLUMNS",
    "GREEDY",
    "Alignment",
    "Automaton",
    "BlankSkip",
    "ClassifySearch",
    "CtcBeamSearch",
    "CtcGreedySearch",
    "FramesSearch",
    "Fusion",
    "Search",
    "SearchConfig",
    "TdtGreedySearch",
    "Tokens",
    "TransducerBeamSearch",
    "TransducerGreedySearch",
    "Words",
    "align_ctc",
    "align_transducer",
    "build_automata",
    "build_words",
    "conclude",
    "decode",
    "search_parts",
    "session_automata",
]

_WITH_TORCH = {
    **dict.fromkeys(["Alignment", "align_ctc", "align_transducer"], "align"),
    **dict.fromkeys(["Search", "conclude", "decode"], "offline"),
    **dict.fromkeys(["TdtGreedySearch", "TransducerGreedySearch"], "transducer"),
    "BlankSkip": "blank_skip",
    "ClassifySearch": "classify",
    "CtcBeamSearch": "ctc_beam",
    "CtcGreedySearch": "ctc",
    "FramesSearch": "frames",
    "Fusion": "fusion",
    "Tokens": "tokens",
    "TransducerBeamSearch": "transducer_beam",
    "search_parts": "endpoint",
}


def __getattr__(name: str) -> object:
    if name not in _WITH_TORCH:
        raise AttributeError(f"audiorec.search has no {name!r}")
    globals()[name] = found = getattr(import_module(f"audiorec.search.{_WITH_TORCH[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
