"""Attention and the Conformer: who sees whom, against plain code of one frame at a time; latencies, views and the draw."""

import math

import pytest
import torch
import torch.nn.functional as F

from audiorec.encoders import build
from audiorec.encoders.attention import Context, SelfAttention, visible
from audiorec.errors import ConfigError, UserError
from audiorec.streaming import leaves, state_bytes

CONTEXTS = [
    Context(left=5),
    Context(left=3, right=2),
    Context(left=0, right=3),
    Context(left=4, chunk=3),
    Context(left=0, chunk=5),
    Context(left=13, chunk=4),
]
SIZE = 31  # longer than the windows in which queries go together


def seen(context: Context, t: int, size: int = SIZE) -> list[int]:
    """The frames that frame t sees, counted out."""
    if context.full:
        return list(range(size))
    own = [j for j in range(size) if j // context.chunk == t // context.chunk]
    before = [own[0] - i for i in range(1, context.left + 1)]
    after = [t + i for i in range(1, context.right + 1)]
    return sorted(j for j in own + before + after if 0 <= j < size)


def encoder(*contexts: dict, **options):
    tiny = {"dim": 8, "heads": 2, "layers": 2, "expansion": 2, "conv_kernel": 3, "dropout": 0.0}
    return build({"kind": "conformer", "strides": [2, 2], **tiny, "contexts": list(contexts), **options}, 6).double()


def pieces(module, x, lengths, size: int):
    """The outputs of streams of one length, fed ``size`` frames at a time."""
    state, parts = module.initial_state(len(x), ragged=True), []
    for at in range(0, x.shape[1], size):
        piece = F.pad(x[:, at : at + size], (0, 0, 0, max(0, at + size - x.shape[1])))
        y, n, state = module.step(piece, (lengths - at).clamp(0, size), state)
        parts.append(y[:, : int(n[0])])
    y, n = module.flush(state)
    return torch.cat([*parts, y[:, : int(n[0])]], 1)


def plain_attention(attention: SelfAttention, x: torch.Tensor, context: Context) -> torch.Tensor:
    """x (T, dim), frame by frame, with relative rotations as complex numbers."""
    normed = attention.norm(x)
    q, (k, v) = attention.query(normed), attention.key_value(normed).chunk(2, -1)
    half = x.shape[1] // attention.heads // 2
    rates = 10000.0 ** -(torch.arange(half, dtype=x.dtype) / half)
    outputs = []
    for t in range(len(x)):
        places = seen(context, t, len(x))
        heads = []
        for h in range(attention.heads):
            part = slice(2 * half * h, 2 * half * (h + 1))
            query = torch.complex(*q[t, part].chunk(2))
            scores = [
                (query.conj() * torch.complex(*k[j, part].chunk(2)) * torch.exp(1j * rates * (j - t))).real.sum()
                for j in places
            ]
            weights = (torch.stack(scores) / math.sqrt(2 * half)).softmax(0)
            heads.append(sum(weight * v[j, part] for weight, j in zip(weights, places, strict=True)))
        outputs.append(x[t] + attention.out(torch.cat(heads)))
    return torch.stack(outputs)


def plain_feed_forward(module, x):
    norm, inner, _, _, outer, _ = module.net
    return x + 0.5 * outer(F.silu(inner(norm(x))))


def plain_convolution(module, x):
    a, gate = module.gated[1](module.gated[0](x)).chunk(2, -1)
    frames = a * gate.sigmoid()
    weight, bias, kernel = module.depthwise.weight[:, 0], module.depthwise.bias, module.kernel
    mixed = [
        bias + sum(weight[:, kernel - 1 - i] * frames[t - i] for i in range(kernel) if t - i >= 0)
        for t in range(len(x))
    ]
    return x + module.out[2](F.silu(module.out[0](torch.stack(mixed))))


def plain_encoder(model, x: torch.Tensor, context: Context) -> torch.Tensor:
    """One utterance x (T, input_dim) through the layers as the papers write them."""
    x = model.subsampling(x[None], torch.tensor([len(x)]))[0][0]
    for name, layer in model.members[1:]:
        assert name.startswith("layer")
        x = plain_attention(layer.attention, plain_feed_forward(layer.feed_forward1, x), context)
        x = layer.norm(plain_feed_forward(layer.feed_forward2, plain_convolution(layer.conv, x)))
    return x


@pytest.mark.parametrize("context", CONTEXTS, ids=str)
def test_the_mask_is_the_table_of_who_sees_whom(context):
    time = torch.arange(SIZE)
    table = torch.tensor([[j in seen(context, t) for j in range(SIZE)] for t in range(SIZE)])
    assert torch.equal(visible(context, time, time), table)


@pytest.mark.parametrize("context", CONTEXTS, ids=str)
@pytest.mark.parametrize("cut", [None, 1, 2], ids=["whole", "chunk by chunk", "two chunks"])
def test_another_frame_changes_those_that_see_it_and_no_others(context, cut):
    torch.manual_seed(0)
    attention = SelfAttention(8, 2, context).double()
    x = torch.randn(1, SIZE, 8, dtype=torch.float64).repeat(SIZE + 1, 1, 1)
    x[torch.arange(SIZE), torch.arange(SIZE)] += torch.randn(8, dtype=torch.float64)  # row j has another frame j
    lengths = torch.full((SIZE + 1,), SIZE)
    y = attention(x, lengths)[0] if cut is None else pieces(attention, x, lengths, cut * attention.block)
    changed = (y[:SIZE] - y[SIZE:]).abs().amax(2) > 1e-9
    table = torch.tensor([[j in seen(context, t) for t in range(SIZE)] for j in range(SIZE)])
    assert torch.equal(changed, table)


@pytest.mark.parametrize("context", [*CONTEXTS, Context(chunk=None)], ids=str)
def test_equals_plain_layers_whole_and_streamed(context):
    torch.manual_seed(0)
    model = encoder({"left": 2}).with_context(context)
    x, lengths = torch.randn(1, 4 * SIZE - 1, 6, dtype=torch.float64), torch.tensor([4 * SIZE - 1])
    expected = plain_encoder(model, x[0], context)
    torch.testing.assert_close(model(x, lengths)[0][0], expected)
    if not context.full:
        torch.testing.assert_close(pieces(model, x, lengths, model.period)[0], expected)


@pytest.mark.parametrize("ms, chunk", [(0, 1), (80, 2), (480, 7), (1040, 14)])
def test_latency_is_that_of_one_chunk(ms, chunk):
    model = encoder(*({"left": 14, "chunk": chunk} for chunk in (7, 1, 2, 14)), strides=[2, 2, 2])
    view = model.at_latency(ms, 80)
    assert view.context.chunk == chunk
    assert view.lookahead == 8 * chunk - 1 and view.period == 8 * chunk  # in feature frames, strides included


def test_regular_look_ahead_adds_up_over_layers():
    model = encoder({"left": 14}, {"left": 14, "right": 2}, layers=3)
    view = model.at_latency(240, 40)
    assert view.context.right == 2 and view.lookahead == 4 * (1 + 3 * 2) - 1


def test_a_view_shares_weights_and_leaves_the_original_alone():
    torch.manual_seed(0)
    model = encoder({"left": 4, "chunk": 3}, {"left": 6, "chunk": 5}, {"chunk": None}).eval()
    x, lengths = torch.randn(2, 120, 6, dtype=torch.float64), torch.tensor([120, 55])
    before = model(x, lengths)[0]
    _, _, state = model.step(x[:, :60], lengths.clamp(max=60) // 60 * 60, model.initial_state(2, ragged=True))
    view = model.at_latency(160, 40)
    full = model.at_latency(math.inf, 40)
    assert [id(p) for p in view.parameters()] == [id(p) for p in model.parameters()]
    outputs = [m(x, lengths)[0] for m in (view, full)]
    assert not torch.allclose(outputs[0], before) and not torch.allclose(outputs[1], before)
    assert torch.equal(model(x, lengths)[0], before)
    model.step(x[:, 60:], torch.tensor([60, 0]), state)  # its live streams go on
    view.train()
    assert not model.training and model.period == 12 and view.period == 20

    outputs[0].sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    with torch.no_grad():
        model.layer0.attention.query.weight.mul_(2)
    assert not torch.equal(view(x, lengths)[0], outputs[0])
    torch.testing.assert_close(view.at_latency(80, 40)(x, lengths)[0], model(x, lengths)[0])


def test_training_draws_a_context_for_each_batch():
    torch.manual_seed(0)
    contexts = [{"left": 4, "weight": 2}, {"left": 4, "chunk": 3}, {"chunk": None}]
    model = encoder(*contexts, layers=1)
    x, lengths = torch.randn(1, 40, 6, dtype=torch.float64), torch.tensor([40])
    expected = [model.with_context(context)(x, lengths)[0] for context in model.contexts]

    def draws(times: int) -> list[int]:
        outputs = [model(x, lengths)[0] for _ in range(times)]
        return [next(i for i, e in enumerate(expected) if torch.equal(y, e)) for y in outputs]

    torch.manual_seed(1)
    drawn = draws(120)
    assert 45 <= drawn.count(0) <= 75 and 18 <= drawn.count(1) <= 42
    torch.manual_seed(1)
    assert draws(10) == drawn[:10]
    model.eval()
    assert set(draws(5)) == {0}


def test_cached_frames_are_chosen_at_run_time():
    model = encoder({"left": 8, "chunk": 2}).float()
    view = model.at_latency(40, 40, left=3)
    bytes_apart = state_bytes(model.initial_state(1, ragged=True)) - state_bytes(view.initial_state(1, ragged=True))
    assert view.context == Context(left=3, chunk=2) and bytes_apart == 2 * (8 - 3) * 2 * 8 * 4  # layers, k and v, dim
    with pytest.raises(ValueError, match="another model's, or of another latency"):
        model.step(torch.zeros(1, 8, 6), torch.tensor([8]), view.initial_state(1, ragged=True))


def test_a_cast_keeps_positions_exact():
    model = encoder({"left": 40})
    table = model.layer0.attention.rotary
    model.float().double()
    assert torch.equal(model.layer0.attention.rotary, table)
    assert "layer0.attention.rotary" not in model.state_dict()


def test_a_full_context_says_that_it_cannot_stream():
    model = encoder({"chunk": None})
    with pytest.raises(UserError, match="choose a latency"):
        model.initial_state(1, ragged=True)
    with pytest.raises(UserError, match="choose a latency"):
        model.step(torch.zeros(1, 4, 6).double(), torch.tensor([4]), {})
    assert model.lookahead == math.inf


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"heads": 3}, r"encoder.heads: must divide dim 128 into even parts, got 3"),
        (
            {"contexts": [{"left": 8, "chunk": 2, "right": 1}]},
            "encoder.contexts.0: right .* needs chunk 1, not chunk 2",
        ),
        ({"contexts": [{"left": 0}]}, "encoder.contexts.0: .* sees itself alone"),
        ({"contexts": []}, "encoder.contexts: "),
        ({"contexts": [{"lef": 8}]}, "encoder.contexts.0.lef: unknown key"),
    ],
)
def test_bad_options(options, complaint):
    with pytest.raises(ConfigError, match=complaint):
        build({"kind": "conformer", **options}, 80)


def test_an_unknown_latency_names_those_there_are():
    model = encoder({"left": 4, "chunk": 3}, {"chunk": None}, {"left": 4})
    with pytest.raises(UserError, match="latency 100 ms: this model was trained for 0, 80, inf ms"):
        model.at_latency(100, 40)
    with pytest.raises(ConfigError, match=r"context\.left"):
        model.at_latency(80, 40, left=-1)


def test_defaults():
    model = build({"kind": "conformer"}, 80)
    assert 2e6 < sum(p.numel() for p in model.parameters()) < 4e6 and model.stride == 4
    state = model.initial_state(1, ragged=True)
    _, _, after = model.step(torch.randn(1, 10 * model.period, 80), torch.tensor([10 * model.period]), state)
    assert state_bytes(after) == state_bytes(state) and len(list(leaves(state))) == len(list(leaves(after)))


def test_gradients_in_bfloat16_are_those_of_float32():
    """On a CPU attention is then written out; padding must not reach them."""
    torch.manual_seed(0)
    attention = SelfAttention(16, 2, Context(left=8, chunk=4)).train()
    x, lengths = torch.randn(3, 24, 16), torch.tensor([24, 4, 16])
    given = []
    for low in (False, True):
        attention.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            y, _ = attention(x, lengths)
        y.float().square().sum().backward()
        given.append([y.detach().float(), *(weight.grad.clone() for weight in attention.parameters())])
    for exact, rough in zip(*given, strict=True):
        assert (rough - exact).abs().max() < 0.03 * exact.abs().max()
