"""Heads on inner layers (`at: layer0`): what they read, learn and say, streamed as whole, and what does not fit."""

import random
from typing import Literal

import pytest
import torch
import yaml
from typer.testing import CliRunner

import audiorec
from audiorec.cli import app
from audiorec.config import Config, dump_yaml, parse
from audiorec.data.kaldi import read_data_dir, write_data_dir
from audiorec.encoders import ENCODERS
from audiorec.errors import ConfigError, UserError
from audiorec.evaluation.align import align
from audiorec.evaluation.decode import decode
from audiorec.losses import mean_per_token
from audiorec.models import AsrModel, ModelConfig, describe, parameter_count, save_model
from audiorec.models.describe import parts
from audiorec.recognizer import Recognizer
from audiorec.search import SearchConfig
from audiorec.streaming import Pointwise, Sequential
from audiorec.text import train_tokenizer
from tests.conftest import RECORDINGS, WORDS

# The end looks 8 frames ahead, layer0 not at all, layer1 4 frames.
AHEAD = {"kind": "transformer", "heads": 2, "expansion": 2, "left": 8, "right": 4}
STACK = {"kind": "stack", "dim": 16, "pattern": ["lstm", AHEAD, AHEAD], "strides": [3]}
HYBRID = {"transducer": {"loss": {"kind": "full"}, "joiner_dim": 16}, "ctc": {"at": "layer0", "weight": 0.3}}
INTERMEDIATE = {"ctc": {}, "early": {"kind": "ctc", "at": "layer1"}}


def make(heads, encoder=STACK) -> tuple[AsrModel, ModelConfig]:
    features = {"sample_rate": 8000, "bins": 20}
    given = {"features": features, "encoder": encoder, "heads": heads, "tokenizer": {"kind": "word"}}
    config = parse(ModelConfig, given)
    torch.manual_seed(1)
    model = AsrModel(config, train_tokenizer("word", [WORDS]).size)
    model.features.set_statistics(torch.full((20,), -9.0), torch.full((20,), 3.0))
    return model, config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that says something by its CTC head and by one on layer1."""
    model, config = make(INTERMEDIATE)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(2)
        for head in model.heads.values():
            head.linear.weight.mul_(20)
            head.linear.bias.zero_()
    path = tmp_path_factory.mktemp("models") / "tapped"
    save_model(path, model, config, train_tokenizer("word", [WORDS]), "# tapped\n")
    return path


def batch(speech):
    return torch.from_numpy(speech[:24000].reshape(2, 12000).copy()), torch.tensor([12000, 7001])


CONTEXTS = {"kind": "conformer", "dim": 8, "heads": 2, "layers": 3, "contexts": [{"left": 8, "right": 2}]}
REDUCED = {"kind": "lstm", "dim": 8, "layers": 3, "reduce_after": [2]}


@pytest.mark.parametrize(
    "encoder", [STACK, {**CONTEXTS, "strides": [3]}, REDUCED], ids=["stack", "conformer", "reduced"]
)
def test_one_pass_gives_each_head_what_its_exit_gives(encoder, speech):
    model, _ = make(
        {"ctc": {}, "early": {"kind": "ctc", "at": "layer1"}, "first": {"kind": "ctc", "at": "layer0"}}, encoder
    )
    samples, lengths = batch(speech)
    with torch.no_grad():
        frames = model.eval().frames(samples, lengths)
        latencies = []
        for name in model.heads:
            view = model.exit(name)
            x, n = view(samples, lengths)
            assert torch.equal(x, frames[name][0]) and torch.equal(n, frames[name][1])
            assert n.tolist() == [-(-size // view.stride) for size in lengths.tolist()]
            assert list(view.heads) == [name] and view.exit(name) is view
            assert view.head().linear.weight is model.heads[name].linear.weight
            latencies.append(view.latency_ms)
        assert torch.equal(frames["ctc"][0], model(samples, lengths)[0])
    assert latencies[0] >= latencies[1] >= latencies[2] and latencies[0] > latencies[2]
    assert parameter_count(model.exit("first")) < parameter_count(model.exit("early")) < parameter_count(model.exit())


def test_a_model_without_taps_is_its_own_exit(speech):
    for heads in ("ctc", {"ctc": {"at": "layer2"}}):
        model, _ = make(heads)
        assert model.exit() is model and model.exit("ctc") is model and model.taps == {"ctc": None}
        samples, lengths = batch(speech)
        assert torch.equal(model.eval().frames(samples, lengths)["ctc"][0], model(samples, lengths)[0])


def test_an_exit_is_the_shallower_model_of_the_same_weights(speech):
    """So a model that grows by a layer begins, at the exit, where the smaller one ended."""
    small, _ = make("ctc", {**STACK, "pattern": ["lstm", AHEAD]})
    grown, _ = make({"ctc": {"at": "layer1"}})
    missing, unexpected = grown.load_state_dict(small.state_dict(), strict=False)
    assert not unexpected and all(name.startswith("encoder.layer2.") for name in missing)
    samples, lengths = batch(speech)
    with torch.no_grad():
        assert torch.equal(grown.eval().exit()(samples, lengths)[0], small.eval()(samples, lengths)[0])
    assert grown.exit().state_dict().keys() == small.state_dict().keys()
    assert (grown.exit().latency_ms, grown.exit().first_feed) == (small.latency_ms, small.first_feed)


def test_a_hybrid_with_ctc_at_an_inner_layer_learns(speech):
    model, _ = make(HYBRID)
    samples, lengths = batch(speech)
    tokens, counts = torch.tensor([[3, 4, 4, 7], [5, 2, 0, 0]]), torch.tensor([4, 2])
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=2e-3)
    values = []
    for _ in range(6):
        frames = model.frames(samples, lengths, augment=lambda x, lengths: x)
        parts = {k: mean_per_token(h.losses(*frames[k], tokens, counts), counts)[0] for k, h in model.heads.items()}
        optimizer.zero_grad()
        parts["ctc"].backward(retain_graph=True)
        reached = {name.split(".")[1] for name, p in model.encoder.named_parameters("encoder") if p.grad is not None}
        assert reached == {"subsampling", "layer0", "norm"}
        parts["transducer"].backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        values.append([float(part.detach()) for part in parts.values()])
    assert values[-1][0] < values[0][0] and values[-1][1] < values[0][1]


def test_a_pass_ends_where_the_last_head_reads(speech):
    model, _ = make({"ctc": {"at": "layer0"}})
    ran = []
    model.encoder.layer1.attention.offline = lambda *_: ran.append(1)
    model.frames(*batch(speech))
    assert not ran


@pytest.mark.parametrize("head", ["ctc", "early"])
def test_each_head_says_streamed_what_it_says_offline(folder, head, speech):
    recognizer, samples, draw = audiorec.load(folder, head=head), speech[8000:32000], random.Random(3)
    whole = recognizer.transcribe_batch([samples, samples[:5001]])
    stream, at = recognizer.stream(), 0
    while at < len(samples):
        size = draw.choice([0, 77, 333, 1600, 5000])
        stream.accept(samples[at : at + size])
        at += size
    result = stream.finish()
    assert result.segments == whole[0].segments and len(set(result.text.split())) > 2
    assert result.text == recognizer.transcribe(samples).text
    with audiorec.Engine(recognizer, slots=2) as engine:
        session = engine.session()
        session.accept(samples)
        assert session.finish().segments == whole[0].segments


def test_an_early_exit_comes_sooner_and_costs_less(folder):
    end, early = audiorec.load(folder), audiorec.load(folder, head="early")
    assert end.model.latency_ms - early.model.latency_ms == pytest.approx(4 * 30)
    assert early.model.first_feed < end.model.first_feed
    assert "layer2" not in early.model.encoder.names and "layer2" in end.model.encoder.names
    again = Recognizer(early.model, early.tokenizer, "early")  # of an exit
    assert again.model.encoder.names == early.model.encoder.names
    with pytest.raises(UserError, match=r"head 'ctc': this model, or this exit of one, has early"):
        Recognizer(early.model, early.tokenizer, "ctc")
    with pytest.raises(UserError, match="shares its weights, and cannot be moved or cast"):
        audiorec.models.load_model(folder)[0].exit("early").double()


def test_looking_ahead_is_the_exits_own(speech):
    contexts = [{"left": 8, "right": 2}, {"left": 8, "chunk": 2}]
    model, _ = make(
        {"ctc": {}, "early": {"kind": "ctc", "at": "layer0"}}, {**CONTEXTS, "strides": [3], "contexts": contexts}
    )
    assert (model.latencies, model.exit("early").latencies) == ([30, 180], [30, 60])
    recognizer = Recognizer(model, train_tokenizer("word", [WORDS]), "early")
    for ms in (30, 60):
        view = recognizer.at_latency(ms)
        assert view.model.look_ahead_ms == ms and view.model.encoder.names[-1] == "layer0"
        assert view.transcribe(speech[:16000]).segments == view.transcribe_batch([speech[:16000]])[0].segments


def test_decoding_and_aligning_take_the_heads_exit(folder, tmp_path):
    write_data_dir(tmp_path / "data", read_data_dir(RECORDINGS)[:4])
    early = audiorec.load(folder, head="early")
    summary = decode(early, tmp_path / "data", tmp_path / "out")
    assert summary["parameters"] == parameter_count(early.model) < parameter_count(audiorec.load(folder).model)
    assert summary["algorithmic_latency_ms"] == early.model.latency_ms
    assert align(folder, tmp_path / "data", tmp_path / "aligned", "early")["utterances"] == 4


def test_info_prints_the_taps(folder):
    shown = CliRunner().invoke(app, ["info", str(folder)]).stdout
    assert "ctc, early (ctc) at layer1" in shown and "What a stream takes by the head that decodes it" in shown
    model, config = make(HYBRID)
    facts, tables = describe(model, None, config)
    assert facts["heads"] == "transducer, ctc at layer0" and facts["latency"].startswith(f"{model.latency_ms:g} ms")
    exits = {row[0]: row for row in tables[1].rows}
    assert exits["transducer"][1:2] + exits["transducer"][4:5] == ("the end", f"{model.latency_ms:g}")
    assert exits["ctc"][1:2] + exits["ctc"][4:5] == ("layer0", f"{model.exit('ctc').latency_ms:g}")
    assert sum(part.parameters for part in parts(model)) == parameter_count(model)
    only_tapped, config = make({"ctc": {"at": "layer0"}})
    facts, _ = describe(only_tapped, None, config)
    assert facts["latency"].startswith(f"{model.exit('ctc').latency_ms:g} ms"), "of the head that decodes"


def test_a_search_reads_the_layer_that_its_head_was_trained_on():
    model, _ = make(HYBRID)
    with pytest.raises(ConfigError, match=r"heads\.ctc: reads layer0, not the model's end: model\.exit\('ctc'\)"):
        model.search("ctc")
    model.exit("ctc").search("ctc")
    skipping = parse(SearchConfig, {"skip_blank": 0.9})
    for one in (model, model.exit("transducer")):
        with pytest.raises(ConfigError, match=r"skip_blank: needs a transducer beside a ctc head, both at one layer"):
            one.search("transducer", skipping)
    make({**HYBRID, "ctc": {"at": "layer2"}})[0].search("transducer", skipping)


class PlainConfig(Config):
    kind: Literal["plain"] = "plain"


class Plain(Sequential):
    """A plugin's encoder."""

    Config = PlainConfig

    def __init__(self, config, input_dim: int):
        super().__init__(layer0=Pointwise(torch.nn.Linear(input_dim, 4), input_dim, 4))


@pytest.mark.parametrize(
    "encoder, at, message",
    [
        (STACK, "layer3", r"^heads\.ctc\.at: no layer 'layer3'; this encoder has layer0, layer1, layer2$"),
        (STACK, "norm", r"no layer 'norm'"),
        (REDUCED, "x", r"has layer0, layer1, reduction1, layer2$"),
        ({"kind": "blstm", "dim": 8}, "layer0", r"this encoder has layers$"),
        ({"kind": "plain"}, "layer0", r"^heads\.ctc\.at: encoder plain is no Stack of named layers"),
    ],
)
def test_a_layer_that_is_not_there_is_named(encoder, at, message, monkeypatch):
    monkeypatch.setattr(ENCODERS, "kinds", {**ENCODERS.kinds, "plain": Plain})
    with pytest.raises(ConfigError, match=message) as error:
        make({"ctc": {"at": at}}, encoder)
    assert "\n" not in str(error.value)
    if encoder["kind"] == "plain":
        make("ctc", encoder)


@pytest.mark.parametrize("name", ["a.b", "to", "", "1"])
def test_a_heads_name_is_a_plain_word(name):
    with pytest.raises(ConfigError, match=f"heads: {name!r} cannot be a head's name"):
        make({name: {"kind": "ctc"}})


def test_a_config_keeps_names_and_layers():
    _, config = make(INTERMEDIATE)
    again = parse(ModelConfig, yaml.safe_load(dump_yaml(config)))
    assert again == config and again.heads["early"].at == "layer1" and not again.allows_empty_text
    silent = {"word": {"kind": "classify"}}
    assert make(silent)[1].allows_empty_text
    with pytest.raises(ConfigError, match="needs kind word"):
        parse(ModelConfig, {"encoder": STACK, "heads": silent, "tokenizer": {"kind": "char"}})
