"""Search: encoder frames in, tokens out, with state, so that a stream and a file give the same tokens."""

from audiorec.search.classify import ClassifySearch
from audiorec.search.ctc import CtcGreedySearch
from audiorec.search.tokens import Tokens

__all__ = ["ClassifySearch", "CtcGreedySearch", "Tokens"]
