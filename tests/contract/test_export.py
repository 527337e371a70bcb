"""`step` of every module passes torch.export with a dynamic batch, and the exported program gives the same numbers."""

import pytest
import torch

from audiorec.streaming import leaves, map_state

from .modules import MODULES


@pytest.mark.parametrize("name", MODULES)
def test_step_exports_with_a_dynamic_batch(name):
    torch.manual_seed(0)
    module = MODULES[name]().eval()
    size = module.first_feed + module.period
    size = -(-size // module.block) * module.block

    def feed(rows: int):
        lengths = torch.randint(0, size // module.block + 1, (rows,)) * module.block
        return torch.randn(rows, size, module.input_dim), lengths, module.initial_state(rows)

    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self, x, lengths, state):
            return self.module.step(x, lengths, state)

    batch = torch.export.Dim("batch", min=1, max=64)
    x, lengths, state = feed(3)
    dynamic = {"x": {0: batch}, "lengths": {0: batch}, "state": map_state(lambda _: {0: batch}, state)}
    with torch.no_grad():
        program = torch.export.export(Step(), (x, lengths, state), dynamic_shapes=dynamic).module()
        for rows in (1, 5):
            given = feed(rows)
            y, n, new = module.step(*given)
            exported_y, exported_n, exported_new = program(*given)
            torch.testing.assert_close(exported_y, y)
            assert torch.equal(exported_n, n)
            for (name, a), (_, b) in zip(leaves(new), leaves(exported_new), strict=True):
                torch.testing.assert_close(a, b, msg=name)
