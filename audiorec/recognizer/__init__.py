"""Recognition: ``load`` a model, ``transcribe`` recordings, ``stream`` live audio."""

from audiorec.recognizer.engine import Engine
from audiorec.recognizer.recognizer import Recognizer, load
from audiorec.recognizer.result import Alternative, Piece, Result, Segment
from audiorec.recognizer.stream import Stream

__all__ = ["Alternative", "Engine", "Piece", "Recognizer", "Result", "Segment", "Stream", "load"]
