"""Recognition with torch: ``load`` a model, ``transcribe`` recordings, ``stream`` live audio."""

from audiorec.recognizer.recognizer import Recognizer, load
from audiorec.recognizer.runner import Runner

__all__ = ["Recognizer", "Runner", "load"]
