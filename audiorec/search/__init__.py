"""Search: encoder frames in, tokens out, with state, so that a stream and a file give the same tokens."""

from audiorec.search.ctc import CtcGreedySearch
from audiorec.search.tokens import Tokens
from audiorec.search.transducer import TdtGreedySearch, TransducerGreedySearch

__all__ = ["CtcGreedySearch", "TdtGreedySearch", "Tokens", "TransducerGreedySearch"]
