"""Search: encoder frames in, tokens out, with state, so that a stream and a file give the same tokens."""

from audiorec.search.align import Alignment, align_ctc, align_transducer
from audiorec.search.automaton import Automaton
from audiorec.search.blank_skip import BlankSkip
from audiorec.search.classify import ClassifySearch
from audiorec.search.config import COLUMNS, GREEDY, SearchConfig, build_automata, build_words, session_automata
from audiorec.search.ctc import CtcGreedySearch
from audiorec.search.ctc_beam import CtcBeamSearch
from audiorec.search.decode import Search, conclude, decode
from audiorec.search.endpoint import search_parts
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
