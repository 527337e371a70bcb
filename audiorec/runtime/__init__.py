"""Recognition without torch: ``load`` an exported model, which onnxruntime and numpy compute."""

from audiorec.runtime.folder import is_export
from audiorec.runtime.recognizer import Recognizer, load
from audiorec.runtime.runner import OnnxRunner

__all__ = ["OnnxRunner", "Recognizer", "is_export", "load"]
