"""Models for other runtimes: ONNX graphs that stream, held to the law: exported = streamed = offline."""

from audiorec.export.onnx import export_onnx
from audiorec.export.sherpa import export_sherpa

__all__ = ["export_onnx", "export_sherpa"]
