"""Every encoder with every head: five training steps, a save, a load, and the same words streamed as whole, by each head."""

import random

import numpy as np
import pytest
import torch

import audiorec
from audiorec.config import parse
from audiorec.encoders import ENCODERS
from audiorec.errors import ConfigError, UserError
from audiorec.losses import mean_per_token
from audiorec.models import AsrModel, ModelConfig, load_model, save_model
from audiorec.search import Alignment
from audiorec.text import train_tokenizer
from tests.conftest import WORDS

SMALL = {
    "conformer": {"dim": 8, "heads": 2, "layers": 1, "contexts": [{"left": 8, "chunk": 3}]},
    "fastconformer": {"dim": 8, "heads": 2, "layers": 1, "planes": 2, "contexts": [{"left": 8, "chunk": 3}]},
    "transformer": {"dim": 8, "heads": 2, "layers": 1, "left": 8, "right": 1},
    "blstm": {"dim": 8, "layers": 1, "chunk": 3, "look_ahead": 1},
    "icefall_lstm": {"dim": 8, "layers": 1, "hidden": 12, "feed_forward": 16, "planes": 2},
    "lmu": {"dim": 8, "layers": 1, "channels": 3, "order": 4},
    "stack": {"dim": 8, "pattern": ["lstm", {"kind": "transformer", "heads": 2, "left": 8, "right": 1}]},
}
LSTM = {"kind": "lstm", "dim": 8}
HEADS = {
    "ctc": {"ctc": {}},
    "full": {"transducer": {"loss": {"kind": "full", "fastemit": 0.01}, "joiner_dim": 16}},
    "modified": {
        "transducer": {"loss": {"kind": "full", "rnnt_type": "modified"}, "joiner_dim": 16, "predictor": LSTM}
    },
    "nemo": {
        "transducer": {
            "loss": "full",
            "joiner_dim": 16,
            "joiner_activation": "relu",
            "predictor": {**LSTM, "layers": 2, "start": "zero"},
        }
    },
    "pruned": {"transducer": {"loss": {"kind": "pruned", "warmup": 3}, "joiner_dim": 16}},
    "tdt": {"transducer": {"loss": "tdt", "joiner_dim": 16, "predictor": LSTM}},
    "viterbi": {"transducer": {"loss": {"kind": "viterbi", "rnnt_type": "modified"}, "joiner_dim": 16}},
    "hybrid": {"transducer": {"loss": "pruned", "joiner_dim": 16}, "ctc": {"weight": 0.3}},
}
ESSENTIAL = {("lstm", head) for head in HEADS} | {("conformer", "pruned"), ("mamba", "tdt"), ("blstm", "hybrid")}
PAIRS = [
    pytest.param(encoder, head, marks=() if (encoder, head) in ESSENTIAL else pytest.mark.slow)
    for encoder in sorted(ENCODERS.kinds)
    for head in HEADS
]


def make(encoder: str, head: str) -> tuple[AsrModel, ModelConfig]:
    options = {**SMALL.get(encoder, {"dim": 8, "layers": 1}), "kind": encoder, "strides": [3]}
    features = {"sample_rate": 8000, "bins": 20}
    given = {"features": features, "encoder": options, "heads": HEADS[head], "tokenizer": {"kind": "word"}}
    config = parse(ModelConfig, given)
    torch.manual_seed(1)
    model = AsrModel(config, train_tokenizer("word", [WORDS]).size)
    model.features.set_statistics(torch.full((20,), -9.0), torch.full((20,), 3.0))
    return model, config


def learn(model: AsrModel, speech) -> list[float]:
    """Five steps on three clips; the last of them has more words than any head can place."""
    samples = torch.from_numpy(speech[: 3 * 6000].reshape(3, 6000).copy())
    lengths, tokens = torch.tensor([6000, 4100, 200]), torch.tensor([[3, 4, 4, 7], [5, 2, 0, 0], [2, 3, 4, 5]])
    token_lengths = torch.tensor([4, 2, 4])
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-3)
    values = []
    for _ in range(5):
        x, n = model(samples, lengths)
        rows = [head.losses(x, n, tokens, token_lengths) for head in model.heads.values()]
        assert all(torch.isfinite(row[:2]).all() for row in rows)
        losses = [mean_per_token(row, token_lengths)[0] for row in rows]
        loss = sum(head.weight * part for head, part in zip(model.heads.values(), losses, strict=True))
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
        optimizer.step()
        values.append(float(loss.detach()))
    return values


@torch.no_grad()
def sharpen(model: AsrModel, samples: np.ndarray) -> None:
    """As if trained: what it hears and what it said decide, and no symbol wins everywhere."""
    for parameter in model.encoder.parameters():
        parameter.mul_(2)
    x, _ = model.eval()(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
    for head in model.heads.values():
        if hasattr(head, "joiner"):
            history = head.predictor.output(head.predictor.initial_state(1))
            last, hidden = head.joiner.output, head.joiner.encoder_proj(x) + head.joiner.predictor_proj(history)
            hidden = head.joiner.activation(hidden)
        else:
            last, hidden = head.linear, x
        last.weight.mul_(20)
        last.bias.zero_()
        last.bias.sub_(last(hidden).mean((0, 1)))


@pytest.mark.parametrize("encoder, head", PAIRS)
def test_trained_saved_loaded_and_streamed(encoder, head, speech, tmp_path):
    model, config = make(encoder, head)
    values = learn(model, speech)
    if head != "pruned":  # whose scales move meanwhile
        assert values[-1] < values[0]
    samples, draw = speech[8000:24000], random.Random(3)
    sharpen(model, samples)
    save_model(tmp_path / "model", model, config, train_tokenizer("word", [WORDS]), "# small\n")
    again, _, same = load_model(tmp_path / "model")
    assert same == config
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    for kind in config.heads:
        recognizer = audiorec.load(tmp_path / "model", head=kind)
        whole = recognizer.transcribe_batch([samples, samples[:5001]])
        stream, at = recognizer.stream(), 0
        while at < len(samples):
            size = draw.choice([0, 77, 333, 1600, 5000])
            stream.accept(samples[at : at + size])
            at += size
            said = stream.partial().text
        result = stream.finish()
        assert result.segments == whole[0].segments and result.text.startswith(said)
        assert len(set(result.text.split())) > 2, "the model says next to nothing"
        assert [word.text for word in result.words] == result.text.split()


def test_a_loss_along_a_path_follows_its_own_best_one_or_the_given(speech):
    model, _ = make("lstm", "viterbi")
    samples = torch.from_numpy(speech[: 3 * 6000].reshape(3, 6000).copy())
    tokens, token_lengths = torch.tensor([[3, 4, 4], [0, 0, 0], [2, 3, 4]]), torch.tensor([3, 0, 3])
    batch = *model(samples, torch.tensor([6000, 4100, 200])), tokens, token_lengths
    head = model.head()
    own, best = head.losses(*batch), head.align(*batch)
    torch.testing.assert_close(own, -best.scores.float(), rtol=1e-4, atol=1e-4)
    assert torch.isfinite(own).tolist() == [True, True, False]
    early = torch.arange(3).repeat(3, 1)
    given = head.losses(*batch, Alignment(early, early + 1, torch.tensor([0.0, -torch.inf, 0.0])))
    assert torch.isfinite(given).tolist() == [True, False, False] and given[0] > own[0]


def test_the_warm_up_goes_on_where_it_stopped(speech):
    model, _ = make("lstm", "pruned")
    learn(model, speech)
    assert int(model.head().loss.batches) == 5
    again, _ = make("lstm", "pruned")
    again.load_state_dict(model.state_dict())
    torch.manual_seed(2)
    expected = learn(model, speech)
    torch.manual_seed(2)
    assert learn(again, speech) == expected


def test_augmentation_sits_between_features_and_encoder(speech):
    model = make("lstm", "ctc")[0].eval()
    samples, lengths = torch.from_numpy(speech[:12000].reshape(2, 6000).copy()), torch.tensor([6000, 4000])
    x, n = model(samples, lengths, augment=lambda x, lengths: 2 * x)
    features, frames = model.features(samples[..., None], lengths)
    expected, _ = model.encoder(2 * features, frames)
    assert torch.equal(x, expected) and not torch.equal(x, model(samples, lengths)[0])
    assert n.tolist() == model(samples, lengths)[1].tolist()


@pytest.mark.parametrize("head", HEADS)
def test_nan_stays_nan_in_the_losses_of_every_head(head):
    model, _ = make("lstm", head)
    frames, tokens = torch.randn(2, 9, 8), torch.tensor([[2, 3], [4, 0]])
    frames[0, 1] = torch.nan
    for part in model.heads.values():
        losses = part.losses(frames, torch.tensor([9, 9]), tokens, torch.tensor([2, 1]))
        assert losses[0].isnan() and losses[1].isfinite(), head


def test_a_row_without_a_path_is_counted_and_left_out(speech):
    for head, left_out in (("modified", 1), ("ctc", 1), ("pruned", 0), ("tdt", 0)):
        model, _ = make("lstm", head)
        tokens, token_lengths = torch.tensor([[2, 2, 3], [4, 0, 0]]), torch.tensor([3, 1])
        losses = model.head().losses(torch.randn(2, 6, 8), torch.tensor([2, 6]), tokens, token_lengths)
        loss, dropped = mean_per_token(losses, token_lengths)
        assert int(dropped) == left_out and torch.isfinite(loss), head


@pytest.mark.parametrize(
    "head, message",
    [
        ({"loss": "best"}, r"loss\.kind: unknown kind 'best'; it accepts full, pruned, tdt"),
        (
            {"loss": {"kind": "full", "prune_range": 5}},
            r"loss\.prune_range: unknown key; accepted here: kind, rnnt_type",
        ),
        ({"loss": {"kind": "pruned", "prune_range": 1}}, r"loss\.prune_range: .*greater than or equal to 2"),
        ({"loss": {"kind": "tdt", "durations": [0, 0, 1]}}, r"loss\.durations: takes different numbers of frames"),
        ({"loss": {"kind": "tdt", "durations": [0]}}, r"loss\.durations: takes .* at least 1"),
        ({"loss": {"kind": "full", "rnnt_type": "strict"}}, r"loss\.rnnt_type: .*'regular', 'modified'"),
        ({"predictor": {"dim": 4}}, r"predictor: needs a mapping with a key `kind`, one of lstm, stateless"),
        (
            {"blank": 1},
            r"heads\.blank: unknown key; accepted here: kind, weight, at, predictor, joiner_dim, joiner_activation, loss",
        ),
    ],
)
def test_what_does_not_fit_is_named(head, message):
    with pytest.raises(ConfigError, match=message) as error:
        parse(ModelConfig, {"encoder": {"kind": "lstm"}, "heads": {"transducer": head}})
    assert "\n" not in str(error.value)


def test_a_joiner_of_another_vocabulary_is_refused(tmp_path):
    model, config = make("lstm", "pruned")
    save_model(tmp_path / "model", model, config, train_tokenizer("word", [WORDS]), "# small\n")
    train_tokenizer("word", [WORDS + " ten"]).save(tmp_path / "model")
    with pytest.raises(UserError, match=r"heads\.transducer\.\S+ is .*the tokenizer make it .*not of one model"):
        load_model(tmp_path / "model")
