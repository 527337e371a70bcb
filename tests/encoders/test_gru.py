"""The LSTM and GRU encoders against nn.LSTM and nn.GRU put together by hand, row by row."""

import pytest
import torch
import torch.nn.functional as F

from audiorec.encoders import build
from audiorec.errors import ConfigError


def encoder(kind: str, **options):
    torch.manual_seed(0)
    config = {"kind": kind, "dim": 6, "layers": 3, "strides": [2], "dropout": 0.0, **options}
    return build(config, 7).double()


def by_hand(model, x: torch.Tensor) -> torch.Tensor:
    """One row (1, T, 7): norm, torch's own layer, projection, skip; pairs of frames joined by a linear layer."""
    x, _ = model.subsampling(x, torch.tensor([x.shape[1]]))
    for name, member in model.members[1:-1]:
        if name.startswith("reduction"):
            pairs = F.pad(x, (0, 0, 0, x.shape[1] % 2)).unflatten(1, (-1, 2))
            weight = member.conv.weight  # (out, in, 2)
            x = pairs[:, :, 0] @ weight[..., 0].T + pairs[:, :, 1] @ weight[..., 1].T + member.conv.bias
            continue
        layer = dict(member.module.members)
        rnn = layer.get("lstm") or layer["gru"]
        y = rnn.weights(layer["norm"].module(x).transpose(0, 1))[0].transpose(0, 1)
        x = x + (layer["projection"].module(y) if "projection" in layer else y)
    return model.norm.module(x)


@pytest.mark.parametrize("options", [{}, {"hidden": 9}, {"hidden": 4, "reduce_after": [1, 2]}], ids=str)
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_each_row_is_torchs_own_layers(kind, options):
    model = encoder(kind, **options)
    lengths = torch.tensor([31, 12, 1])
    x = torch.randn(3, 31, 7, dtype=torch.float64)
    y, y_lengths = model(x, lengths)
    for row, n in enumerate(lengths.tolist()):
        expected = by_hand(model, x[row : row + 1, :n])
        assert y_lengths[row] == -(-n // model.stride)
        torch.testing.assert_close(y[row, : y_lengths[row]], expected[0])


@pytest.mark.parametrize("reduce_after, stride", [([], 2), ([2], 4), ([1, 2], 8)])
def test_each_reduction_doubles_the_stride(reduce_after, stride):
    model = encoder("gru", reduce_after=reduce_after)
    assert (model.stride, model.lookahead) == (stride, stride - 1)


@pytest.mark.parametrize("reduce_after", [[3], [1, 1]])
def test_a_reduction_that_is_not_between_layers_is_named(reduce_after):
    with pytest.raises(ConfigError, match=r"encoder\.reduce_after: takes different layers from 1 to 2, .* got \["):
        encoder("lstm", reduce_after=reduce_after)


@pytest.mark.parametrize("kind", ["lstm", "gru", "blstm", "min_gru", "min_lstm"])
def test_the_default_is_of_middling_size(kind):
    model = build({"kind": kind}, 80)
    assert model.stride == 4
    assert 2e6 < sum(p.numel() for p in model.parameters()) < 4e6
