"""The parts that a transducer adds to an encoder: predictors, which read the symbols so far, and the joiner."""

from audiorec.decoders.joiner import Activation, Joiner
from audiorec.decoders.lstm import LstmPredictor
from audiorec.decoders.predictor import PREDICTORS, Predictor
from audiorec.decoders.stateless import StatelessPredictor

__all__ = ["PREDICTORS", "Activation", "Joiner", "LstmPredictor", "Predictor", "StatelessPredictor"]
