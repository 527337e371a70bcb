"""A training step on a GPU gives what it gives on a CPU: losses, gradients, states."""

import copy

import pytest
import torch
from audiorec_kernels import full_precision

from audiorec.config import parse
from audiorec.losses import mean_per_token
from audiorec.models import AsrModel, ModelConfig
from audiorec.streaming import map_state

from ..contract.modules import TINY
from ..device import DEVICE

pytestmark = pytest.mark.cuda
VOCABULARY, ROWS, SAMPLES = 12, 3, 8000
HEADS = {
    "ctc": "ctc",
    "pruned": {"transducer": {"loss": {"kind": "pruned"}}},
    "full": {"transducer": {"loss": {"kind": "full"}}},
    "tdt": {"transducer": {"loss": {"kind": "tdt"}}},
}
CASES = [*((kind, "ctc") for kind in TINY), *(("lstm", head) for head in HEADS if head != "ctc")]


def model_of(kind: str, head: str) -> AsrModel:
    torch.manual_seed(0)
    features = {"sample_rate": 8000, "bins": 20}
    defaults = {} if kind == "stack" else {"layers": 2, "dropout": 0.0}  # a pattern gives its layers their options
    encoder = {"kind": kind, **defaults, **TINY[kind]}
    config = parse(ModelConfig, {"features": features, "encoder": encoder, "heads": HEADS[head]})
    return AsrModel(config, VOCABULARY).train()


def batch() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    samples = 0.1 * torch.randn(ROWS, SAMPLES, generator=generator)
    lengths, counts = torch.tensor([SAMPLES, SAMPLES // 2, 0]), torch.tensor([4, 2, 0])
    return samples, lengths, torch.randint(1, VOCABULARY, (ROWS, 4), generator=generator), counts


def step(model: AsrModel, device: torch.device) -> dict[str, torch.Tensor]:
    """The losses and every parameter's gradient."""
    samples, lengths, tokens, counts = (x.to(device) for x in batch())
    with full_precision(device):
        x, n = model(samples, lengths)
        losses = model.head().losses(x, n, tokens, counts)
        mean_per_token(losses, counts)[0].backward()
    gradients = {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}
    return {"losses": losses.detach().cpu(), **gradients}


@pytest.mark.parametrize("kind, head", CASES)
def test_a_training_step_is_the_cpus(kind, head):
    model = model_of(kind, head)
    here, there = step(copy.deepcopy(model), torch.device("cpu")), step(model.to(DEVICE), DEVICE)
    assert here.keys() == there.keys()
    for name, exact in here.items():
        torch.testing.assert_close(
            there[name], exact, rtol=1e-4, atol=1e-5 * max(1.0, float(exact.abs().nan_to_num().max()))
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_step_under_autocast_is_finite(dtype):
    model = model_of("flash_lstm", "pruned").to(DEVICE)
    samples, lengths, tokens, counts = (x[:2].to(DEVICE) for x in batch())
    with torch.autocast(DEVICE.type, dtype):
        x, n = model(samples, lengths)
        losses = model.head().losses(x, n, tokens, counts)
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("kind", TINY)
def test_a_state_moves_to_the_device_and_goes_on(kind):
    model = model_of(kind, "ctc").eval()
    x = torch.randn(2, 4 * model.encoder.block, model.encoder.input_dim)
    half, lengths = 2 * model.encoder.block, torch.full((2,), 2 * model.encoder.block)
    with torch.no_grad(), full_precision(DEVICE):
        _, _, state = model.encoder.step(x[:, :half], lengths)
        wanted, _, _ = model.encoder.step(x[:, half:], lengths, state)
        moved = map_state(lambda leaf: leaf.to(DEVICE), state)
        model.to(DEVICE)
        got, _, _ = model.encoder.step(x[:, half:].to(DEVICE), lengths.to(DEVICE), moved)
    torch.testing.assert_close(got.cpu(), wanted, rtol=1e-4, atol=1e-5)
