"""Graphs of one model beside one file of weights, in which each tensor stands once."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WEIGHTS = "weights.bin"
_SMALL = 1024  # bytes up to which a tensor stays in its graph
_ALIGN = 4096  # bytes: a page, so that the file can be mapped into memory


def save_graphs(folder: Path, graphs: Mapping[str, Any]) -> None:
    """Write ``NAME.onnx`` of each graph, an ``onnx_ir.Model``, with all that it needs."""
    import onnx_ir as ir

    for name, model in graphs.items():
        (folder / f"{name}.onnx").write_bytes(ir.to_proto(model).SerializeToString())


class SharedWeights:
    """``weights.bin`` of a folder: what is larger than a kilobyte in any of its graphs, each tensor once."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._places: dict[bytes, tuple[int, int]] = {}

    def save(self, graphs: Mapping[str, Any]) -> None:
        """As ``save_graphs``, with the large tensors in the file. Graphs may come in several calls."""
        import onnx_ir as ir

        with (self._folder / WEIGHTS).open("ab" if self._places else "wb") as file:
            for model in graphs.values():
                for value in model.graph.initializers.values():
                    tensor = value.const_value
                    if tensor.nbytes <= _SMALL:
                        continue
                    data = tensor.tobytes()
                    key = hashlib.sha256(data).digest()
                    if key not in self._places:
                        file.write(bytes(-file.tell() % _ALIGN))
                        self._places[key] = file.tell(), len(data)
                        file.write(data)
                    offset, length = self._places[key]
                    value.const_value = ir.ExternalTensor(
                        WEIGHTS,
                        offset,
                        length,
                        tensor.dtype,
                        shape=tensor.shape,
                        name=value.name,
                        base_dir=self._folder,
                    )
        save_graphs(self._folder, graphs)
