"""`step` of every module passes torch.export with a dynamic batch, and the exported program gives the same numbers.

Of whole rows, as a live stream is, the graph holds no mask and no gather.
"""

import pytest
import torch

from audiorec.streaming import leaves, map_state

from . import modules
from .modules import MODULES

# Tracing takes milliseconds an operation: one layer after one convolution will do.
SMALLER = {"layers": 1, "dropout": 0.0, "strides": [2], "kernel": 3}


def new_layers() -> set[str]:
    """Modules with layers that no module before them has, and attention by each context: a graph is made of their code."""
    found: dict[frozenset, str] = {}
    for name, make in MODULES.items():
        found.setdefault(frozenset(type(layer) for layer in make().modules()), name)
    return {*found.values(), *(name for name in MODULES if name.startswith("attention"))}


QUICK = new_layers()
CASES = [
    pytest.param(name, ragged, marks=() if name in QUICK and not ragged else pytest.mark.slow, id=f"{name}-{kind}")
    for ragged, kind in ((False, "whole"), (True, "ragged"))
    for name in MODULES
]


class Step(torch.nn.Module):
    """``step`` as the forward of a module, which is what torch.export takes."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x, lengths, state):
        return self.module.step(x, lengths, state)


@pytest.mark.parametrize("name, ragged", CASES)
def test_step_exports_with_a_dynamic_batch(name, ragged, monkeypatch):
    monkeypatch.setattr(modules, "DEFAULTS", SMALLER)
    torch.manual_seed(0)
    module = MODULES[name]().eval()
    size = module.period

    def feed(rows: int):
        """The step that every stream repeats, in the midst of it; of ragged rows some have begun, some end, some wait."""
        begun, x = torch.randn(rows, module.first_feed, module.input_dim), torch.randn(rows, size, module.input_dim)
        if not ragged:
            return x, None, module.step(begun)[2]
        _, _, state = module.step(begun, torch.arange(rows) % 2 * module.first_feed)
        return x, torch.randint(0, size // module.block + 1, (rows,)) * module.block, state

    with torch.no_grad():
        x, lengths, state = feed(3)
        batch = torch.export.Dim("batch", min=1, max=64)
        dynamic = {"x": {0: batch}, "lengths": {0: batch} if ragged else None}
        dynamic["state"] = map_state(lambda _: {0: batch}, state)
        exported = torch.export.export(Step(module), (x, lengths, state), dynamic_shapes=dynamic)
        if not ragged:
            calls = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
            assert not [call for call in calls if "masked_fill" in call or "gather" in call]
        program = exported.module()
        for rows in (1, 5):
            arguments = feed(rows)
            y, n, new = module.step(*arguments)
            exported_y, exported_n, exported_new = program(*arguments)
            torch.testing.assert_close(exported_y, y)
            assert exported_n is n is None or torch.equal(exported_n, n)
            for (leaf, a), (_, b) in zip(leaves(new), leaves(exported_new), strict=True):
                torch.testing.assert_close(a, b, msg=leaf)
