"""Weights of 8 bits: near to float32, and still a batch is a stack: no row depends on its neighbours."""

import shutil

import numpy as np
import pytest
import torch
import yaml

import audiorec
from audiorec.config import parse
from audiorec.errors import ConfigError
from audiorec.export import export_int8, int8, onnx
from audiorec.export.check import Exported, largest_error
from audiorec.export.int8 import quantise, quantised, within
from audiorec.export.quantised import NEIGHBOURS, TOLERANCE, neighbours, quantise_folder
from audiorec.export.rewriting import LAYER
from audiorec.models import AsrModel, ModelConfig, load_model, save_model
from audiorec.text import train_tokenizer
from tests.conftest import TINY, WORDS

for library in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(library)
KINDS = (
    "lstm",
    *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("gru", "mamba", "conformer", "blstm", "min_gru")),
)


@pytest.fixture(autouse=True)
def few_graphs(monkeypatch):
    monkeypatch.setattr(onnx, "SIZES", (1, 2))
    monkeypatch.setattr(int8, "_FEW", 4096)  # the products of these small models are of integers


def model_of(folder, kind="lstm", heads="ctc", **encoder):
    torch.manual_seed(0)
    config = parse(ModelConfig, {**TINY, "encoder": {"kind": kind, "dim": 64, "layers": 2, **encoder}, "heads": heads})
    tokenizer = train_tokenizer("word", [WORDS])
    save_model(folder, AsrModel(config, tokenizer.size), config, tokenizer, "")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_never_depends_on_its_neighbours(kind, tmp_path, monkeypatch, request):
    if kind == "lstm":  # whose graphs are there; the slow ones are traced here
        source, _ = request.getfixturevalue("run")
        graphs = source / "onnx"
        traced = "audiorec.export.quantised.write_checked"
        monkeypatch.setattr(traced, lambda folder, *_: shutil.copytree(graphs, folder, dirs_exist_ok=True))
    else:
        source = model_of(tmp_path / "model", kind)
    settings, (floats, bytes_) = export_int8(source, tmp_path / "out")
    assert settings["int8"] and yaml.safe_load((tmp_path / "out" / "export.yaml").read_text())["int8"] is True
    assert floats.ratio == 1 and bytes_.size < floats.size
    exported = Exported(tmp_path / "out")
    model, _, _ = load_model(source)
    for rows in (1, 7):
        assert 1e-4 < largest_error(exported, model, "ctc", rows, [1, 2, 1, 3]) <= TOLERANCE
    assert neighbours(exported, 7, [1, 2, 1]) <= NEIGHBOURS


@pytest.mark.slow
def test_a_transducers_parts_are_quantised_too_and_it_says_words(tmp_path):
    heads = {"transducer": {"predictor": {"kind": "lstm", "dim": 64}, "joiner_dim": 64}}
    export_int8(model_of(tmp_path / "model", heads=heads), tmp_path / "out")
    import onnx as library

    for name in ("predictor", "joiner", "step", "end"):
        graph = library.load(tmp_path / "out" / f"{name}.onnx", load_external_data=False).graph
        kinds = {node.op_type for node in graph.node}
        assert ("MatMulIntegerToFloat" in kinds) == (name != "joiner") and "LSTM" not in kinds
    recognizer = audiorec.load(tmp_path / "out")
    random, size = np.random.default_rng(0), recognizer.export.first_feed + 20 * recognizer.export.period
    noise = (random.standard_normal((7, size)) * np.geomspace(1e-3, 1, 7)[:, None]).astype(np.float32)

    def said(rows):
        frames, state = recognizer.graphs.begin(rows[:, : recognizer.export.first_feed])
        more, _ = recognizer.graphs.step(rows[:, recognizer.export.first_feed :], state)
        search, frames = recognizer._search, np.concatenate([frames, more], 1)
        hypotheses, _ = search.step(frames, None, search.initial_state(len(rows)))
        return [one.ids for one in hypotheses]

    together = said(noise)
    assert sum(map(len, together)) > 10
    assert together == [said(noise[i : i + 1])[0] for i in range(7)]


@pytest.mark.slow
def test_a_layer_can_stay_float32(tmp_path):
    source = model_of(tmp_path / "model")
    _, (_, without) = export_int8(source, tmp_path / "a")
    settings, (_, kept) = export_int8(source, tmp_path / "b", keep=["encoder.layer1", "encoder.subsampling"])
    assert settings["int8_keep"] == ["encoder.layer1", "encoder.subsampling"] and kept.size > without.size
    model, _, _ = load_model(source)
    errors = [largest_error(Exported(tmp_path / name), model, "ctc", 3, [2]) for name in "ab"]
    assert errors[1] < errors[0]
    with pytest.raises(
        ConfigError, match=r"--int8-keep encoder\.layer9: no such layer; there are encoder\.subsampling"
    ):
        export_int8(source, tmp_path / "c", keep=["encoder.layer9"])
    assert not (tmp_path / "c").exists()


def test_a_layer_that_is_not_there_is_named_with_those_that_are(tmp_path):
    import onnx_ir

    (tmp_path / "export.yaml").write_text("format: 1\n")
    value = 1, ["b", 80]
    model = graph_of("MatMul", {"x": value}, {"y": ["b", 64]}, {"w": np.zeros((80, 64), "f4")}, order=["x", "w"])
    onnx_ir.save(model, tmp_path / "step.onnx")
    with pytest.raises(ConfigError, match="--int8-keep nose: no such layer; there are one"):
        quantise_folder(tmp_path, tmp_path / "out", ["nose"])


def test_a_name_is_a_layer_or_what_it_is_part_of():
    assert within("encoder.layer1.mixer", "encoder.layer1") and within("encoder.layer1", "encoder.layer1")
    assert not within("encoder.layer11", "encoder.layer1") and not within("encoder", "encoder.layer1")


def test_a_byte_stands_for_its_columns_share_and_products_fit_16_bits():
    weight = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32) * np.geomspace(1e-6, 1e6, 7)
    weight[:, 3] = 0
    small, scales = quantised(weight.astype(np.float32))
    assert small.dtype == np.int8 and scales.shape == (1, 7)
    assert (np.abs(small * scales - weight) <= scales * 0.501).all() and (small[:, 3] == 0).all()
    # Where a processor adds two products in 16 bits, as those without VNNI do, the sum must fit.
    assert 2 * 255 * np.abs(small.astype(int)).max() < 1 << 15


def graph_of(kind, inputs, outputs, constants, **attributes):
    """A model of one node, which is layer "one"."""
    import onnx_ir as ir
    from onnx import TensorProto, helper, numpy_helper

    def value(name, given):
        return helper.make_tensor_value_info(name, given[0], given[1])

    node = helper.make_node(kind, attributes.pop("order"), list(outputs), **attributes)
    graph = helper.make_graph(
        [node],
        "graph",
        [value(*item) for item in inputs.items()],
        [value(name, (TensorProto.FLOAT, shape)) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))
    for one in model.graph:
        one.metadata_props[LAYER] = "one"
    return model


def computed(model, **given):
    import onnx_ir as ir
    import onnxruntime

    return onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString()).run(None, given)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("ragged", [False, True])
def test_a_recurrence_is_onnxs_own(kind, ragged):
    from onnx import TensorProto

    time, batch, inputs, dim = 5, 4, 40, 32
    random = np.random.default_rng(0)
    gates = 4 if kind == "LSTM" else 3
    constants = {
        "w": random.uniform(-0.5, 0.5, (1, gates * dim, inputs)).astype(np.float32),
        "r": random.uniform(-0.3, 0.3, (1, gates * dim, dim)).astype(np.float32),
        "b": random.uniform(-0.3, 0.3, (1, 2 * gates * dim)).astype(np.float32),
    }
    state = (TensorProto.FLOAT, [1, "b", dim])
    given = {"x": (TensorProto.FLOAT, ["t", "b", inputs]), "h": state}
    given |= {"c": state} if kind == "LSTM" else {}
    given |= {"n": (TensorProto.INT32, ["b"])} if ragged else {}
    outputs = {"y": ["t", 1, "b", dim], "h1": [1, "b", dim]} | ({"c1": [1, "b", dim]} if kind == "LSTM" else {})
    order = ["x", "w", "r", "b", "n" if ragged else "", "h", *(["c"] if kind == "LSTM" else [])]
    extra = {"linear_before_reset": 1} if kind == "GRU" else {}
    arrays = {"x": random.standard_normal((time, batch, inputs)).astype(np.float32)}
    arrays |= {name: random.uniform(-1, 1, (1, batch, dim)).astype(np.float32) for name in given if name in ("h", "c")}
    arrays |= {"n": np.array([5, 1, 3, 5], np.int32)} if ragged else {}

    def made():
        return graph_of(kind, given, outputs, constants, order=order, hidden_size=dim, **extra)

    expected = computed(made(), **arrays)
    model = made()
    quantise(model)
    assert kind not in {node.op_type for node in model.graph}
    for a, b in zip(expected, found := computed(model, **arrays), strict=True):
        assert a.shape == b.shape and 0 < np.abs(a - b).max() < 0.05
    if ragged:
        assert not found[0][1:, 0, 1].any() and not found[0][3:, 0, 2].any()
    for row in range(batch):
        alone = computed(model, **{n: v[row : row + 1] if n == "n" else v[:, row : row + 1] for n, v in arrays.items()})
        for whole, one in zip(found, alone, strict=True):
            np.testing.assert_allclose(whole[..., row : row + 1, :], one, rtol=0, atol=1e-6)


def test_a_kept_node_stays_as_it_was():
    from onnx import TensorProto

    weight = np.random.default_rng(0).standard_normal((80, 64)).astype(np.float32)
    model = graph_of("MatMul", {"x": (TensorProto.FLOAT, ["b", 80])}, {"y": ["b", 64]}, {"w": weight}, order=["x", "w"])
    quantise(model, ["one"])
    assert [node.op_type for node in model.graph] == ["MatMul"]
    quantise(model)
    assert "MatMul" not in {node.op_type for node in model.graph} and "w" not in model.graph.initializers
    x = np.zeros((2, 80), np.float32)
    x[1, 3] = 1e-30
    assert not computed(model, x=x)[0][0].any()  # silence is no fault


def test_a_small_product_is_of_floats_whose_weight_is_kept_as_bytes(monkeypatch):
    from onnx import TensorProto

    monkeypatch.setattr(int8, "_FEW", 1 << 16)
    random = np.random.default_rng(0)
    weight, x = (random.standard_normal(shape).astype(np.float32) for shape in ((80, 64), (3, 80)))
    model = graph_of("MatMul", {"x": (TensorProto.FLOAT, ["b", 80])}, {"y": ["b", 64]}, {"w": weight}, order=["x", "w"])
    quantise(model)
    kept = [value.const_value.numpy() for value in model.graph.initializers.values() if value.shape == weight.shape]
    assert [one.dtype for one in kept] == [np.int8] and "MatMulIntegerToFloat" not in {n.op_type for n in model.graph}
    scales = np.abs(weight).max(0) / 127
    np.testing.assert_allclose(computed(model, x=x)[0], x @ (np.rint(weight / scales) * scales), rtol=0, atol=1e-4)
