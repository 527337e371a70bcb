"""Search: encoder frames in, tokens out, with state, so that a stream and a file give the same tokens."""

from audiorec.search.align import Alignment, align_ctc, align_transducer
from audiorec.search.ctc import CtcGreedySearch
from audiorec.search.tokens import Tokens
from audiorec.search.transducer import TdtGreedySearch, TransducerGreedySearch

__all__ = [
    "Alignment",
    "CtcGreedySearch",
    "TdtGreedySearch",
    "Tokens",
    "TransducerGreedySearch",
    "align_ctc",
    "align_transducer",
]
