"""Law 7: exported = streamed = offline. onnxruntime, streamed in periods with ragged ends, gives torch's offline numbers."""

import numpy as np
import pytest
import torch

from audiorec.config import dump_yaml, parse
from audiorec.encoders import ENCODERS
from audiorec.export import export_onnx, onnx
from audiorec.export.check import Exported
from audiorec.export.examples import transducer_parts
from audiorec.export.onnx import write_first_history
from audiorec.export.trace import trace
from audiorec.export.weights import save_graphs
from audiorec.files import write_text
from audiorec.models import AsrModel, ModelConfig, load_model, save_model
from audiorec.streaming import State, leaves
from audiorec.text import load_tokenizer, train_tokenizer
from tests.conftest import WORDS
from tests.export.laws import hold_streams
from tests.models.test_heads import HEADS, make

for library in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(library)

# An encoder's graphs know nothing of the head but its projection, so not every pair has to be tried. All are slow: the quick
# suite has an LSTM with CTC in test_command.py.
PAIRS = [
    (encoder, head)
    for encoder in sorted(ENCODERS.kinds)
    for head in HEADS
    if head == "ctc" or encoder == "lstm" or (encoder, head) in {("conformer", "pruned"), ("blstm", "hybrid")}
]


@pytest.fixture(autouse=True)
def few_graphs(monkeypatch):
    """Each takes seconds to trace."""
    monkeypatch.setattr(onnx, "SIZES", (1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("encoder, head", PAIRS)
def test_exported_is_streamed_is_offline(encoder, head, tmp_path):
    model, config = make(encoder, head)
    save_model(tmp_path / "model", model, config, train_tokenizer("word", [WORDS]), "")
    settings = export_onnx(tmp_path / "model", tmp_path / "onnx")
    model, tokenizer, _ = load_model(tmp_path / "model")
    exported, name = Exported(tmp_path / "onnx"), next(iter(model.heads))
    assert load_tokenizer(tmp_path / "onnx").pieces == tokenizer.pieces
    assert settings["head"]["name"] == name and settings["vocabulary"] == tokenizer.size
    hold_streams(exported, model, name)
    if "transducer" in name:
        hold_transducer(exported, model.head(name), tmp_path / "onnx")


def test_a_transducers_parts_are_torchs(tmp_path):
    model, _ = make("lstm", "tdt")
    head = model.eval().head()
    parts = transducer_parts(head)
    save_graphs(tmp_path, {"predictor": trace(*parts.predictor), "joiner": trace(*parts.joiner)})
    write_text(tmp_path / "export.yaml", dump_yaml(write_first_history(tmp_path, head, parts, {})))
    hold_transducer(Exported(tmp_path), head, tmp_path)


@pytest.mark.slow
def test_a_label_is_the_mean_of_its_frames(tmp_path, monkeypatch):
    monkeypatch.setitem(HEADS, "classify", {"classify": {}})
    model, config = make("lstm", "classify")
    save_model(tmp_path / "model", model, config, train_tokenizer("word", [WORDS]), "")
    assert export_onnx(tmp_path / "model", tmp_path / "onnx")["head"] == {"name": "classify", "kind": "classify"}
    model, samples = model.eval(), torch.randn(1, 3333) / 10
    with torch.no_grad():
        y, _ = model(samples)
        expected = model.head()(y.mean(1))[0]
    (frames,) = Exported(tmp_path / "onnx").stream(samples.numpy(), np.array([3333]), [12])
    given = torch.from_numpy(frames).mean(0).log_softmax(-1)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_several_latencies_are_exported(tmp_path):
    """One folder at all latencies, weights once; the model's own is the default."""
    model, config = make("conformer", "ctc")
    encoder = {**config.encoder.model_dump(), "contexts": [{"left": 8, "chunk": 3}, {"left": 8, "chunk": 1}]}
    config = parse(ModelConfig, {**config.model_dump(), "encoder": encoder})
    model = AsrModel(config, 12).eval()
    save_model(tmp_path / "model", model, config, train_tokenizer("word", [WORDS]), "")
    own, other = model.look_ahead_ms, 0.0
    settings = export_onnx(tmp_path / "model", tmp_path / "onnx", latency_ms="all")
    assert [one["look_ahead_ms"] for one in settings["latencies"]] == [own, other] and settings["look_ahead_ms"] == own
    for ms in (own, other):
        exported, view = Exported(tmp_path / "onnx", look_ahead_ms=ms), model.at_latency(ms)
        assert exported.settings["period"] == view.period
        hold_streams(exported, view, "ctc")
    said = (tmp_path / "onnx" / "README.md").read_text()
    assert "begin@0.onnx" in said and f"| 0 | {model.at_latency(0).latency_ms:g} |" in said
    assert "&id" not in (tmp_path / "onnx" / "export.yaml").read_text()
    alone = export_onnx(tmp_path / "model", tmp_path / "alone", latency_ms=own)
    assert "latencies" not in alone and "Latencies" not in (tmp_path / "alone" / "README.md").read_text()
    several, one = ((tmp_path / name / "weights.bin").stat().st_size for name in ("onnx", "alone"))
    assert several < 1.1 * one, "the weights lie there once"


@torch.no_grad()
def hold_transducer(exported: Exported, head, folder) -> None:
    """The predictor symbol by symbol and the joiner over many frames, in five rows."""
    rows, time = 5, 4
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(rows, time, head.joiner.encoder_proj.out_features, generator=generator)
    begin = np.load(folder / "predictor.npz")
    names = [leaf["name"] for leaf in exported.settings["predictor_state"]]
    read = begin["read"].repeat(rows, 0)
    arrays = [begin[f"state.{name}"].repeat(rows, 0) for name in names]
    state: State = head.predictor.initial_state(rows)
    for _ in range(4):
        expected = head.joiner.predictor_proj(head.predictor.output(state))
        torch.testing.assert_close(torch.from_numpy(read), expected, rtol=1e-4, atol=1e-5)
        (logits,) = exported.run("joiner", frames.numpy(), read)
        joined = head.joiner(frames, expected[:, None])
        torch.testing.assert_close(torch.from_numpy(logits), joined, rtol=1e-4, atol=1e-5)
        assert {name: tuple(array.shape) for name, array in zip(names, arrays, strict=True)} == {
            name: tuple(leaf.shape) for name, leaf in leaves(state)
        }
        symbols = torch.randint(1, 9, (rows,), generator=generator)
        state = head.predictor.step(symbols, state)
        read, *arrays = exported.run("predictor", symbols.numpy(), *arrays)
