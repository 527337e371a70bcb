"""Search: encoder frames in, tokens out, with state, so that a stream and a file give the same tokens."""

from audiorec.search.ctc import CtcGreedySearch
from audiorec.search.ctc_beam import CtcBeamSearch
from audiorec.search.tokens import Hypothesis, Tokens
from audiorec.search.transducer import TdtGreedySearch, TransducerGreedySearch

__all__ = ["CtcBeamSearch", "CtcGreedySearch", "Hypothesis", "TdtGreedySearch", "Tokens", "TransducerGreedySearch"]
