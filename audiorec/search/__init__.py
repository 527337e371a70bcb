"""Search: encoder frames in, tokens out, with state, so that a stream and a file give the same tokens."""

from audiorec.search.align import Alignment, align_ctc, align_transducer
from audiorec.search.automaton import Automaton
from audiorec.search.blank_skip import BlankSkip
from audiorec.search.classify import ClassifySearch
from audiorec.search.config import GREEDY, SearchConfig, build_automata
from audiorec.search.ctc import CtcGreedySearch
from audiorec.search.ctc_beam import CtcBeamSearch
from audiorec.search.decode import Decoded, Search, conclude, decode
from audiorec.search.times import Delay, WordTimes
from audiorec.search.tokens import Hypothesis, Tokens
from audiorec.search.transducer import TdtGreedySearch, TransducerGreedySearch
from audiorec.search.transducer_beam import TransducerBeamSearch

__all__ = [
    "GREEDY",
    "Alignment",
    "Automaton",
    "BlankSkip",
    "ClassifySearch",
    "CtcBeamSearch",
    "CtcGreedySearch",
    "Decoded",
    "Delay",
    "Hypothesis",
    "Search",
    "SearchConfig",
    "TdtGreedySearch",
    "Tokens",
    "TransducerBeamSearch",
    "TransducerGreedySearch",
    "WordTimes",
    "align_ctc",
    "align_transducer",
    "build_automata",
    "conclude",
    "decode",
]
