"""What ``info`` tells: costs against counts by hand, sums of parts against the whole, and what the docstrings say."""

import inspect
import re

import pytest
import torch
from typer.testing import CliRunner

from audiorec.audio.resample import Resampler
from audiorec.cli import app
from audiorec.config import parse
from audiorec.encoders import ENCODERS, build
from audiorec.models import AsrModel, ModelConfig, describe, load_model_config, parameter_count, vocabulary
from audiorec.models.cost import live_multiply_adds
from audiorec.models.describe import parts
from audiorec.streaming import state_bytes
from tests.conftest import ROOT

KINDS = sorted(ENCODERS.kinds)
FIGURES = re.compile(
    r"(\S+ \S+), of 80 features 100 times a second: (\S+) M parameters, latency (\S+) ms, state (\S+) kB, "
    r"(\S+) M multiply-adds/s\."
)


def model(**config) -> AsrModel:
    return AsrModel(parse(ModelConfig, {"heads": "ctc", **config}), vocabulary=30)


def convolutions(dim: int) -> int:
    """Multiply-adds a second of the default subsampling: 5 frames of 80 features at 50 Hz, the rest at 25 Hz."""
    return 50 * 5 * 80 * dim + 25 * (5 * dim + dim * dim) + 25 * dim * dim


# Of each layer and frame, written down from the papers' equations: weights, then what is done element by element.
BY_HAND = {
    "lstm": convolutions(256) + 25 * 4 * (4 * 256 * (256 + 256) + 3 * 256),
    "gru": convolutions(288) + 25 * 4 * (3 * 288 * (288 + 288) + 3 * 288),
    "flash_lstm": convolutions(256) + 25 * 6 * (4 * 256 * (256 + 64) + 3 * 256),
    "flash_gru": convolutions(256) + 25 * 8 * (3 * 256 * (256 + 64) + 3 * 256),
    "conformer": convolutions(128)
    + 25 * 8 * (2 * 2 * 4 * 128**2 + 4 * 128**2 + 3 * 128**2 + 9 * 128 + 2 * (64 + 13) * 128),
    "mamba": convolutions(256)
    + 25 * 6 * (256 * 1024 + 4 * 512 + 512 * (16 + 32) + 16 * 512 + 4 * 512 * 16 + 3 * 512 + 512 * 256),
    "lmu": convolutions(256) + 25 * 6 * (256 * 48 + 48 * (16 * 16 + 16) + 48 * 16 * 256 + 2 * 256**2),
    "min_gru": convolutions(192) + 25 * 6 * (4 * 192 + 192 * 768 + 3 * 384 + 384 * 192 + 2 * 192 * 384),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_multiply_adds_are_those_counted_by_hand(kind):
    counted = 100 * live_multiply_adds(build({"kind": kind}, 80))
    assert counted == pytest.approx(BY_HAND[kind], rel=0.02)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "stack"])  # a pattern has no default
def test_docstrings_give_what_is_computed(kind):
    found = FIGURES.findall(" ".join(inspect.getdoc(ENCODERS.kinds[kind]).split()))
    assert [name for name, *_ in found] == ["By default", "As lmuformer"][: 2 if kind == "lmu" else 1]
    for name, *figures in found:
        encoder = build({"kind": kind} | ({"arrangement": "lmuformer"} if name == "As lmuformer" else {}), 80)
        computed = (
            f"{parameter_count(encoder) / 1e6:.2f}",
            f"{10 * (encoder.lookahead + 1):g}",
            f"{state_bytes(encoder.initial_state(1, ragged=True)) / 1e3:.1f}",
            f"{100 * live_multiply_adds(encoder) / 1e6:.1f}",
        )
        assert tuple(figures) == computed


@pytest.mark.parametrize("kind", KINDS)
def test_parts_add_up_to_the_model(kind):
    pattern = {"pattern": ["lstm", "transformer"]} if kind == "stack" else {"layers": 2, "strides": [2, 2]}
    asr = model(encoder={"kind": kind, **pattern})
    found = parts(asr)
    assert [part.name for part in found] == ["features", "subsampling", "encoder", "ctc"]
    assert sum(part.parameters for part in found) == parameter_count(asr)
    assert sum(part.latency_ms for part in found) == pytest.approx(asr.latency_ms)
    search = state_bytes(asr.head().search().initial_state(1))
    assert sum(part.state_bytes for part in found) == state_bytes(asr.initial_state(1, ragged=True)) + search
    assert found[0].multiply_adds == pytest.approx(100 * (400 * 512 + 256 * 80), rel=0.01)  # basis, then mel
    assert found[3].multiply_adds == 25 * asr.output_dim * 30
    assert found[0].latency_ms == 17.5
    assert found[1].latency_ms == {"fastconformer": 0, "icefall_lstm": 60}.get(kind, 30)


def test_every_latency_and_every_leaf_has_a_row():
    contexts = [{"left": 8, "chunk": 3}, {"left": 8}, {"chunk": None}]
    config = parse(ModelConfig, {"heads": "ctc", "encoder": {"kind": "conformer", "layers": 2, "contexts": contexts}})
    asr = AsrModel(config, vocabulary=500)
    facts, (_, latencies, leaves) = describe(asr, None, config)
    assert facts["latency"].startswith("127.5 ms") and "500 with blank assumed" in facts["tokens"]
    assert [row[:1] + row[2:3] + row[4:] for row in latencies.rows[:2]] == [
        ("0", "47.5", f"{state_bytes(asr.at_latency(0).initial_state(1, ragged=True)):,}"),
        ("80", "127.5", f"{state_bytes(asr.initial_state(1, ragged=True)):,}"),
    ]
    assert latencies.rows[2][0] == "inf" and latencies.rows[2][4] == "cannot stream"
    caches = next(row for row in leaves.rows if row[0] == "encoder.layer*.attention.cache")
    assert caches[1:] == ("2", "8 × 256", "float32", f"{2 * 8 * 256 * 4:,}")


@pytest.mark.parametrize(
    "rate, others", [(16000, "8, 44.1 or 48"), (8000, "16, 44.1 or 48"), (22050, "8, 16, 44.1 or 48")]
)
def test_latency_tells_what_resampling_adds(rate, others):
    features = {"sample_rate": rate}
    config = parse(ModelConfig, {"heads": "ctc", "features": features, "encoder": {"kind": "lstm", "layers": 1}})
    asr = AsrModel(config, vocabulary=30)
    held = [Resampler(other, rate).latency_seconds for other in (8000, 16000, 44100, 48000)]
    assert asr.resampling_ms == 1000 * max(held) == pytest.approx(3, abs=0.01)
    line = f"{asr.latency_ms:g} ms from the start of a frame, features and subsampling included, and up to 3 ms more where the "
    line += f"audio is resampled (from {others} kHz)"
    assert describe(asr, None, config)[0]["latency"] == line


def test_what_cannot_stream_is_counted_on_a_recording():
    config = parse(ModelConfig, {"heads": "ctc", "encoder": {"kind": "blstm", "layers": 1, "chunk": None}})
    facts, tables = describe(AsrModel(config, vocabulary=30), None, config)
    assert "cannot stream" in facts["latency"] and "a recording of 10 s" in tables[0].title and len(tables) == 1
    work = float(tables[0].rows[2][2].removesuffix(" M"))
    assert work == pytest.approx(25 * 2 * 4 * 144 * (288 + 144) / 1e6, rel=0.02)


def test_a_recipe_is_described_with_its_settings():
    recipe = str(ROOT / "recipes/lstm_ctc.yaml")
    shown = CliRunner().invoke(
        app, ["info", recipe, "features.sample_rate=8000", "tokenizer.size=20", "encoder.layers=1"]
    )
    assert shown.exit_code == 0 and "20 with blank" in shown.stdout and "8000 Hz" in shown.stdout
    assert "encoder.layer0.h" in shown.stdout and "layer*" not in shown.stdout


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_described(recipe):
    config = load_model_config(recipe, [])
    asr = AsrModel(config, vocabulary(config)).eval()
    describe(asr, None, config)
    found = {part.name: part for part in parts(asr)}
    assert all(found[head].multiply_adds > 0 for head in config.heads)


@pytest.mark.parametrize("predictor", ["stateless", "lstm"])
@pytest.mark.parametrize("durations", [0, 5])
def test_a_transducer_is_counted_with_a_symbol_at_every_frame(predictor, durations):
    loss = {"kind": "tdt", "durations": list(range(durations))} if durations else "pruned"
    head = {"transducer": {"predictor": {"kind": predictor, "dim": 24}, "joiner_dim": 32, "loss": loss}}
    asr = AsrModel(parse(ModelConfig, {"heads": head, "encoder": {"kind": "lstm", "dim": 16, "layers": 1}}), 30)
    projections, output = 16 * 32 + 24 * 32, 32 * (30 + durations)
    history = 4 * 24 * (24 + 24) + 3 * 24 if predictor == "lstm" else 2 * 4 * 24  # groups of 4 channels
    assert parts(asr)[-1].multiply_adds == pytest.approx(25 * (projections + output + history), rel=0.02)


def test_counting_leaves_the_model_as_it_was():
    torch.manual_seed(0)
    encoder = build({"kind": "lstm", "dim": 8, "layers": 1}, 80).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    live_multiply_adds(encoder)
    assert encoder.training and all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
