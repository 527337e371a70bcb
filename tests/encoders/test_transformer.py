"""The Transformer encoder against plain layers with a dense mask; its look-ahead, state and cost."""

import pytest
import torch
import torch.nn.functional as F

from audiorec.encoders import attention, build
from audiorec.errors import ConfigError
from audiorec.streaming import state_bytes


def encoder(**options):
    tiny = {"dim": 8, "heads": 2, "layers": 3, "expansion": 2, "dropout": 0.0}
    return build({"kind": "transformer", "strides": [2], **tiny, **options}, 6)


def turned(x: torch.Tensor) -> torch.Tensor:
    """x (H, T, D) as complex numbers, turned by the angle of their place."""
    half = x.shape[2] // 2
    angles = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * 10000.0 ** -(torch.arange(half, dtype=x.dtype) / half)
    return torch.complex(x[..., :half], x[..., half:]) * torch.exp(1j * angles)


def plain(model, x: torch.Tensor, left: int, right: int) -> torch.Tensor:
    """One utterance x (T, input_dim) with every score computed and those out of sight struck out."""
    x = model.subsampling(x[None], torch.tensor([len(x)]))[0][0]
    apart = torch.arange(len(x)) - torch.arange(len(x))[:, None]
    for _, layer in model.members[1:-1]:
        module = layer.attention
        normed = module.norm(x)
        q, k, v = (
            torch.cat([module.query(normed), module.key_value(normed)], 1).unflatten(1, (3, module.heads, -1)).unbind(1)
        )
        scores = (turned(q.transpose(0, 1)).conj() @ turned(k.transpose(0, 1)).transpose(1, 2)).real / q.shape[2] ** 0.5
        scores = scores.masked_fill((apart < -left) | (apart > right), -torch.inf)
        x = x + module.out((scores.softmax(2) @ v.transpose(0, 1)).transpose(0, 1).flatten(1))
        norm, inner, _, _, outer, _ = layer.feed_forward.module.net
        x = x + outer(F.silu(inner(norm(x))))
    return model.norm.module(x)


@pytest.mark.parametrize(("left", "right"), [(5, 0), (3, 2), (0, 1), (50, 0)])
def test_equals_plain_layers_whole_and_streamed(left, right):
    torch.manual_seed(0)
    model = encoder(left=left, right=right).double()
    x, lengths = torch.randn(1, 75, 6, dtype=torch.float64), torch.tensor([75])
    expected = plain(model, x[0], left, right)
    torch.testing.assert_close(model(x, lengths)[0][0], expected)

    state, parts = model.initial_state(1, ragged=True), []
    for piece in F.pad(x, (0, 0, 0, 1)).split(2, 1):
        y, n, state = model.step(piece, torch.tensor([2 if len(parts) < 37 else 1]), state)
        parts.append(y[0, : int(n)])
    parts += model.flush(state)[0].unbind()  # no row where nothing is held
    torch.testing.assert_close(torch.cat(parts), expected)


def test_look_ahead_adds_up_over_layers():
    assert encoder(right=2).lookahead == 2 * (1 + 3 * 2) - 1
    assert encoder(right=0).lookahead == 1


def test_cost_of_a_frame_does_not_grow_with_the_utterance(monkeypatch):
    pairs = []

    def count(q, k, *args, **kwargs):
        pairs.append(q.shape[0] * q.shape[2] * k.shape[2])
        return F_attention(q, k, *args, **kwargs)

    F_attention = F.scaled_dot_product_attention
    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", count)
    model = encoder(left=10, right=2, layers=1)
    for size in (480, 4800):
        model(torch.randn(1, size, 6), torch.tensor([size]))
    flushed = [pairs[1], pairs[3]]
    assert flushed[0] == flushed[1]
    assert pairs[2] <= 10 * pairs[0] and pairs[2] / 2400 <= 2 * (10 + 2)  # pairs of a query and a key, per frame


def test_defaults_and_state():
    model = build({"kind": "transformer"}, 80)
    assert 2e6 < sum(p.numel() for p in model.parameters()) < 4e6 and model.stride == 4
    layer = build({"kind": "transformer", "right": 1}, 80).layer0
    assert state_bytes(layer.initial_state(1, ragged=True)) == 4 * 192 * (2 * (64 + 1) + 1) + 8


def test_bad_options():
    with pytest.raises(ConfigError, match=r"encoder.heads: must divide dim 192 into even parts, got 5"):
        build({"kind": "transformer", "heads": 5}, 80)
    with pytest.raises(ConfigError, match=r"encoder.right: with left 0 too a frame sees itself alone, got 0"):
        build({"kind": "transformer", "left": 0}, 80)
