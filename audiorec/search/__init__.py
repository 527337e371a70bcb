"""Search: encoder frames in, tokens out, with state, so that a stream and a file give the same tokens.

A module is imported when one of its names is first asked for: what builds n-grams and hotwords comes without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiorec.search.align import Alignment, align_ctc, align_transducer
    from audiorec.search.automaton import Automaton
    from audiorec.search.blank_skip import BlankSkip
    from audiorec.search.classify import ClassifySearch
    from audiorec.search.config import COLUMNS, GREEDY, SearchConfig, build_automata, build_words, session_automata
    from audiorec.search.ctc import CtcGreedySearch
    from audiorec.search.ctc_beam import CtcBeamSearch
    from audiorec.search.endpoint import search_parts
    from audiorec.search.frames import FramesSearch
    from audiorec.search.offline import Search, conclude, decode
    from audiorec.search.tokens import Tokens
    from audiorec.search.transducer import TdtGreedySearch, TransducerGreedySearch
    from audiorec.search.transducer_beam import TransducerBeamSearch
    from audiorec.search.words import Words

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

_MODULES = {
    "align": (
        "Alignment",
        "align_ctc",
        "align_transducer",
    ),
    "automaton": ("Automaton",),
    "blank_skip": ("BlankSkip",),
    "classify": ("ClassifySearch",),
    "config": (
        "COLUMNS",
        "GREEDY",
        "SearchConfig",
        "build_automata",
        "build_words",
        "session_automata",
    ),
    "ctc": ("CtcGreedySearch",),
    "ctc_beam": ("CtcBeamSearch",),
    "offline": (
        "Search",
        "conclude",
        "decode",
    ),
    "endpoint": ("search_parts",),
    "frames": ("FramesSearch",),
    "tokens": ("Tokens",),
    "transducer": (
        "TdtGreedySearch",
        "TransducerGreedySearch",
    ),
    "transducer_beam": ("TransducerBeamSearch",),
    "words": ("Words",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"audiorec.search has no {name!r}")
    globals()[name] = found = getattr(import_module(f"audiorec.search.{_HOME[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
