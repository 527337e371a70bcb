"""Models for other runtimes: graphs and programs that stream, held to the law: exported = streamed = offline."""

from audiorec.export.onnx import export_onnx
from audiorec.export.pt2 import export_pt2
from audiorec.export.quantised import export_int8
from audiorec.export.sherpa import export_sherpa

__all__ = ["export_int8", "export_onnx", "export_pt2", "export_sherpa"]
