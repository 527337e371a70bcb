"""`step` of every module passes torch.export with a dynamic batch, and the exported program gives the same numbers."""

import pytest
import torch

from audiorec.streaming import leaves, map_state

from . import modules
from .modules import MODULES

# Tracing takes milliseconds an operation. So one layer after one convolution will do, and these, whose parts and kind are
# exported anyway, wait for the slow run.
SMALLER = {"layers": 1, "dropout": 0.0, "strides": [2], "kernel": 3}
VARIANTS = {
    *("lstm encoder 3", "lstm encoder, projected, reduced", "gru encoder 8, projected", "gru encoder, reduced"),
    *("flash_lstm encoder, projected, reduced", "flash_gru encoder 8, projected"),
    *(
        "blstm encoder 8",
        "min_gru encoder 8, wide",
        "mamba encoder 3",
        "mamba both ways 3",
        "lmu encoder 3",
        "lmuformer 3",
    ),
    *("conformer chunk 4, subsampling 6", "conformer chunk 2, subsampling 8", "conformer view at a latency"),
    *("conformer view with fewer cached frames", "transformer looking ahead", "windows 4 + 0", "windows 1 + 0"),
    *("samples to look-aheads", "samples to conformer", "residuals in a chain"),
}
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in VARIANTS else name for name in MODULES]


@pytest.mark.parametrize("name", NAMES)
def test_step_exports_with_a_dynamic_batch(name, monkeypatch):
    monkeypatch.setattr(modules, "DEFAULTS", SMALLER)
    torch.manual_seed(0)
    module = MODULES[name]().eval()
    size = module.period

    def feed(rows: int):
        """The step that every stream repeats, in the midst of it: some rows have begun, some end, some wait."""
        begun = torch.randn(rows, module.first_feed, module.input_dim)
        _, _, state = module.step(
            begun, torch.arange(rows) % 2 * module.first_feed, module.initial_state(rows, ragged=True)
        )
        lengths = torch.randint(0, size // module.block + 1, (rows,)) * module.block
        return torch.randn(rows, size, module.input_dim), lengths, state

    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self, x, lengths, state):
            return self.module.step(x, lengths, state)

    with torch.no_grad():
        x, lengths, state = feed(3)
        batch = torch.export.Dim("batch", min=1, max=64)
        dynamic = {"x": {0: batch}, "lengths": {0: batch}, "state": map_state(lambda _: {0: batch}, state)}
        program = torch.export.export(Step(), (x, lengths, state), dynamic_shapes=dynamic).module()
        for rows in (1, 5):
            given = feed(rows)
            y, n, new = module.step(*given)
            exported_y, exported_n, exported_new = program(*given)
            torch.testing.assert_close(exported_y, y)
            assert torch.equal(exported_n, n)
            for (leaf, a), (_, b) in zip(leaves(new), leaves(exported_new), strict=True):
                torch.testing.assert_close(a, b, msg=leaf)
