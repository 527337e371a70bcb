"""What a folder of several latencies holds; its graphs stand for traced ones here, which test_law.py holds to the law."""

import numpy as np
import pytest

from audiorec.export import onnx
from audiorec.export.check import Exported
from audiorec.export.quantised import quantise_folder
from audiorec.runtime.folder import read_export
from tests.export.command import model_of
from tests.runtime.handmade import DIM, FIRST, make

pytest.importorskip("onnxscript")


def test_graphs_of_each_latency_share_one_file_of_weights(tmp_path, monkeypatch):
    import onnx_ir

    made, floats, small = make(tmp_path / "made", "ctc", (1,)), tmp_path / "floats", tmp_path / "int8"
    names = "begin", "step_1", "end", "short"
    graphs = lambda *_: [(name, onnx_ir.load(made / f"{name}.onnx")) for name in names]  # noqa: E731
    monkeypatch.setattr(onnx, "_encoder_graphs", graphs)
    contexts = [{"left": 4, "chunk": 2}, {"left": 4, "chunk": 1}]
    model = model_of(
        tmp_path / "model", encoder={"kind": "conformer", "dim": 8, "heads": 2, "layers": 1, "contexts": contexts}
    )
    (own, other), *opened = onnx.open_views(model, tmp_path / "new", None, "all")
    floats.mkdir()
    onnx.write_export(floats, own, *opened, [other])
    small.mkdir()
    quantise_folder(floats, small)
    samples = np.ones((2, FIRST), np.float32)
    for folder in (floats, small):
        assert {path.stem for path in folder.glob("*.onnx")} == {f"{name}{end}" for name in names for end in ("", "@0")}
        assert (folder / "weights.bin").stat().st_size == 160 * DIM * 4, "each tensor once"
        said = read_export(folder)
        assert [said.at(ms).suffix for ms in (40, 0)] == ["", "@0"] and said.at(0).at(40).period == own.period
        for view in (own, other):
            exported, facts = Exported(folder, look_ahead_ms=view.look_ahead_ms), said.at(view.look_ahead_ms)
            assert exported.settings["period"] == view.period == facts.period and facts.latency_ms == view.latency_ms
            assert exported.settings["state"] == [
                leaf.model_dump() | {"shape": list(leaf.shape)} for leaf in facts.state
            ]
            assert np.array_equal(exported.run("begin", samples)[0], Exported(floats).run("begin", samples)[0])
    assert (
        "| 0 | 47.5 | 400 | 320 |" in (floats / "README.md").read_text()
        and "&id" not in (floats / "export.yaml").read_text()
    )
