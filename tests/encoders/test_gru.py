"""The LSTM and GRU encoders, flash or not, against nn.LSTM and nn.GRU put together by hand, row by row."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from audiorec.encoders import build
from audiorec.encoders.flash_rnn import FlashRnn
from audiorec.errors import ConfigError

KINDS = {
    "lstm": [{}, {"hidden": 9}, {"hidden": 4, "reduce_after": [1, 2]}],
    "gru": [{}, {"hidden": 9}, {"hidden": 4, "reduce_after": [1, 2]}],
    "flash_lstm": [{"heads": 1}, {"heads": 3}, {"heads": 2, "hidden": 4, "reduce_after": [1]}],
    "flash_gru": [{"heads": 1}, {"heads": 3}, {"heads": 2, "hidden": 4, "reduce_after": [1]}],
}


def encoder(kind: str, **options):
    torch.manual_seed(0)
    config = {"kind": kind, "dim": 6, "layers": 3, "strides": [2], "dropout": 0.0, **options}
    return build(config, 7).double()


def torchs_own(layer) -> nn.LSTM | nn.GRU:
    """The layer's weights in torch's module; recurrence in heads is a block-diagonal matrix."""
    if not isinstance(layer, FlashRnn):
        return layer.weights
    module = {4: nn.LSTM, 3: nn.GRU}[layer.gates](layer.input_dim, layer.output_dim).double()
    with torch.no_grad():
        module.weight_ih_l0.copy_(layer.inputs.weight)
        module.bias_ih_l0.copy_(layer.inputs.bias)
        matrices = (torch.block_diag(*layer.recurrent[:, :, gate].mT) for gate in range(layer.gates))
        module.weight_hh_l0.copy_(torch.cat(list(matrices)))
        module.bias_hh_l0.zero_()
        if layer.gates == 3:
            module.bias_hh_l0[2 * layer.output_dim :] = layer.reset_bias
    return module


def by_hand(model, x: torch.Tensor) -> torch.Tensor:
    """One row (1, T, 7): norm, torch's own layer, projection, skip; pairs of frames joined by a linear layer."""
    x, _ = model.subsampling(x, torch.tensor([x.shape[1]]))
    for name, member in model.members[1:-1]:
        if name.startswith("reduction"):
            pairs = F.pad(x, (0, 0, 0, x.shape[1] % 2)).unflatten(1, (-1, 2))
            weight = member.conv.weight  # (out, in, 2)
            x = pairs[:, :, 0] @ weight[..., 0].T + pairs[:, :, 1] @ weight[..., 1].T + member.conv.bias
            continue
        y = torchs_own(member.mixer)(member.norm(x).transpose(0, 1))[0].transpose(0, 1)
        x = x + (y if member.out is None else member.out(y))
    return model.norm.module(x)


@pytest.mark.parametrize("kind, options", [(kind, options) for kind in KINDS for options in KINDS[kind]], ids=str)
def test_each_row_is_torchs_own_layers(kind, options):
    model = encoder(kind, **options)
    for name, parameter in model.named_parameters():
        if name.endswith("reset_bias"):
            nn.init.normal_(parameter)  # it begins as zeros, which would hide where it is added
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


@pytest.mark.parametrize("kind", ["flash_lstm", "flash_gru"])
def test_heads_that_do_not_divide_the_cells_are_named(kind):
    with pytest.raises(ConfigError, match=r"encoder\.heads: must divide the 6 cells of a layer .*, got 4"):
        encoder(kind)
    with pytest.raises(ConfigError, match=r"encoder\.heads: must divide the 9 cells of a layer .*, got 2"):
        encoder(kind, hidden=9, heads=2)


@pytest.mark.parametrize("kind", [*KINDS, "blstm", "min_gru", "min_lstm"])
def test_the_default_is_of_middling_size(kind):
    model = build({"kind": kind}, 80)
    assert model.stride == 4
    assert 2e6 < sum(p.numel() for p in model.parameters()) < 4e6
