"""The laws of streaming (docs/design.md, section 2), each a function that raises AssertionError where a module breaks it.

Padding is zeros everywhere but in `padding`, and rows advance together everywhere but in `rows`, so that a broken module
breaks the law it should and no other.
"""

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec.streaming import StreamingModule, as_ragged, leaves, map_state, mask, put, take

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


class Case:
    """A module in one precision, and a ragged batch that ends mid-block, at a block, within the first block and empty."""

    def __init__(self, module: StreamingModule, dtype: torch.dtype, seed: int = 0, exact: bool = True):
        self.random = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.module = module.to(dtype).train()
        self.dtype = dtype
        self.exact = exact and dtype == torch.float32
        block, span = module.block, module.first_feed + 3 * module.period
        blocks = max(12, -(-span // block))
        self.size = blocks * block + block // 2
        ends = [self.size, blocks // 2 * block, (blocks // 3) * block + 1, block // 2, module.first_feed, 0]
        self.lengths = torch.tensor(ends)
        self.x = mask(self.draw(len(ends), self.size), self.lengths)

    def draw(self, rows: int, size: int) -> Tensor:
        return torch.randn(rows, size, self.module.input_dim, dtype=torch.float64, generator=self.generator).to(
            self.dtype
        )

    def cuts(self) -> list[int]:
        """A random split of the batch into whole blocks."""
        cuts, left = [], -(-self.size // self.module.block)
        while left > 0:
            cuts.append(min(self.random.choice([1, 1, 2, 3, 5, 8]), left))
            left -= cuts[-1]
        return [cut * self.module.block for cut in cuts]

    def close(self, a: Tensor, b: Tensor, what: str) -> None:
        assert a.shape == b.shape, f"{what}: shapes {tuple(a.shape)} and {tuple(b.shape)}"
        if a.numel():
            error = (a - b).abs().max() / a.abs().max().clamp(min=1e-3)
            assert error <= TOLERANCE[self.dtype], f"{what}: off by {error:.1e}"

    def offline(self, x: Tensor | None = None) -> list[Tensor]:
        return rows(*self.module(self.x if x is None else x, self.lengths))

    def stream(self, x: Tensor, lengths: Tensor, cuts: list[int]) -> list[Tensor]:
        """Every row's output when the batch is fed in these cuts."""
        state = self.module.initial_state(len(x), ragged=True)
        x = F.pad(x, (0, 0, 0, sum(cuts) - x.shape[1]))
        parts, at = [], 0
        for cut in cuts:
            y, n, state = self.module.step(x[:, at : at + cut], (lengths - at).clamp(0, cut), state)
            parts.append(rows(y, n))
            at += cut
        y, n = self.module.flush(state)
        parts += [rows(y, n)] if y.shape[1] else []
        return [torch.cat(row) for row in zip(*parts, strict=True)]


def rows(y: Tensor, lengths: Tensor) -> list[Tensor]:
    """Each row's valid frames; what lies past them must be zero."""
    assert torch.equal(mask(y, lengths), y), "frames past the output's length are not zero"
    return [row[:n] for row, n in zip(y, lengths.tolist(), strict=True)]


def grouping(case: Case) -> None:
    """1. Any split into blocks gives the same outputs and the same gradients."""
    whole = case.offline()
    weights = [torch.randn(row.shape, dtype=torch.float64, generator=case.generator).to(case.dtype) for row in whole]
    parameters = [p for p in case.module.parameters() if p.requires_grad]

    def gradients(outputs: list[Tensor]) -> tuple[Tensor, ...]:
        total = sum((row * weight).sum() for row, weight in zip(outputs, weights, strict=True))
        return torch.autograd.grad(total, parameters) if parameters else ()

    expected = gradients(whole)
    one_by_one = [case.module.block] * -(-case.size // case.module.block)
    for cuts in (one_by_one, case.cuts(), case.cuts()):
        pieces = case.stream(case.x, case.lengths, cuts)
        for i, (a, b) in enumerate(zip(whole, pieces, strict=True)):
            case.close(a, b, f"row {i} in pieces")
        for a, b in zip(expected, gradients(pieces), strict=True):
            case.close(a, b, "gradient in pieces")


def causality(case: Case) -> None:
    """2. Other values after reach(t) leave the outputs up to t as they were."""
    whole = case.offline()
    for _ in range(4):
        t = case.random.randrange(max(1, len(whole[0]) - 1))
        changed = case.x.clone()
        changed[:, case.module.reach(t) + 1 :] += case.draw(*changed[:, case.module.reach(t) + 1 :].shape[:2])
        for a, b in zip(whole, case.offline(mask(changed, case.lengths)), strict=True):
            case.close(a[: t + 1], b[: t + 1], f"output up to {t} with another future")


def padding(case: Case) -> None:
    """3. What stands past a row's length reaches neither output, gradient nor the next state."""
    poisoned = torch.where(mask(torch.ones_like(case.x), case.lengths) > 0, case.x, torch.nan)
    parameters = [p for p in case.module.parameters() if p.requires_grad]
    results = []
    for x in (case.x, poisoned):
        y, n = case.module(x, case.lengths)
        gradients = torch.autograd.grad(y.square().sum(), parameters) if parameters else ()
        results.append([*rows(y, n), *gradients])
    for a, b in zip(*results, strict=True):
        case.close(a, b, "output or gradient with NaN in the padding")
    size = case.size // case.module.block * case.module.block
    lengths = case.lengths.clamp(max=size) // case.module.block * case.module.block
    states = [
        case.module.step(x[:, :size], lengths, case.module.initial_state(len(x), ragged=True))[2]
        for x in (case.x, poisoned)
    ]
    for (name, a), (_, b) in zip(leaves(states[0]), leaves(states[1]), strict=True):
        case.close(a.to(case.dtype), b.to(case.dtype), f"state {name} with NaN in the padding")


def rows_law(case: Case) -> None:
    """4. A batch is a stack: rows join, leave, move and advance on their own, and a row of length 0 keeps its state."""
    module, block = case.module, case.module.block
    whole = case.offline()
    for i, row in enumerate(whole):
        n = case.lengths[i : i + 1]
        case.close(row, rows(*module(case.x[i : i + 1, : max(1, int(n))], n))[0], f"row {i} alone")

    waiting, seats = list(range(len(whole))), [None] * 3  # more utterances than seats in the batch
    pieces, outputs = [[] for _ in whole], [[] for _ in whole]
    state = module.initial_state(len(seats), ragged=True)
    while waiting or any(seat is not None for seat in seats):
        for seat, utterance in enumerate(seats):
            if utterance is None and waiting and case.random.random() < 0.7:
                seats[seat] = waiting.pop(0)
                state = put(state, [seat], module.initial_state(1, ragged=True))
        order = case.random.sample(range(len(seats)), len(seats))
        seats, state = [seats[i] for i in order], take(state, order)
        size = case.random.choice([1, 2, 5]) * block
        x, lengths = case.draw(len(seats), size) * 0, [0] * len(seats)
        for seat, utterance in enumerate(seats):
            if utterance is not None:
                start = sum(pieces[utterance])
                lengths[seat] = min(int(case.lengths[utterance]) - start, case.random.randint(0, size // block) * block)
                x[seat, : lengths[seat]] = case.x[utterance, start : start + lengths[seat]]
        before = state
        y, n, state = module.step(x, torch.tensor(lengths), state)
        given = rows(y, n)
        for seat, utterance in enumerate(seats):
            if lengths[seat] == 0:
                for (name, a), (_, b) in zip(leaves(before), leaves(state), strict=True):
                    assert torch.equal(a[seat], b[seat]), f"a row of length 0 changed its state {name}"
            if utterance is None:
                continue
            outputs[utterance].append(given[seat])
            pieces[utterance].append(lengths[seat])
            if sum(pieces[utterance]) == case.lengths[utterance]:
                y, n = module.flush(take(state, [seat]))
                outputs[utterance] += rows(y, n) if y.shape[1] else []
                seats[seat] = None
    for i, (cuts, given) in enumerate(zip(pieces, outputs, strict=True)):
        whole_blocks = [-(-cut // block) * block for cut in cuts if cut]
        alone = (
            case.stream(case.x[i : i + 1, : sum(cuts)], case.lengths[i : i + 1], whole_blocks)
            if whole_blocks
            else [whole[i]]
        )
        case.close(alone[0], torch.cat(given), f"row {i} among rows that come and go")


def shape(case: Case) -> None:
    """5. The state keeps its structure, shapes and dtypes, under autocast too; the output's size depends on T alone."""
    module = case.module

    def signature(state):
        return [(name, tuple(leaf.shape), leaf.dtype) for name, leaf in leaves(state)]

    state = module.initial_state(len(case.x), ragged=True)
    first = signature(state)
    for blocks in (1, 3, 12):
        size = blocks * module.block
        y, _, after = module.step(case.x[:, :size], case.lengths.clamp(max=size), state)
        assert signature(after) == first, "the state's shapes or dtypes changed"
        other, _, _ = module.step(case.x[:, :size], torch.zeros_like(case.lengths), state)
        assert other.shape == y.shape, "the output's time size depends on the lengths"
        if case.dtype == torch.float32:
            with torch.autocast("cpu", torch.bfloat16):
                _, _, cast = module.step(case.x[:, :size], case.lengths.clamp(max=size), state)
            assert signature(cast) == first, "autocast changed the state's dtypes"
        state = map_state(lambda leaf: leaf.detach(), after)


def flush(case: Case) -> None:
    """6. Step and flush emit exactly ``total(length)`` frames, in pieces and in one; that of a module that says nothing of its
    own is ceil(length / stride)."""
    module = case.module
    top = case.size
    lengths = torch.tensor(sorted({0, 1, 2, module.block, top} | {case.random.randrange(top) for _ in range(12)}))
    x = mask(case.draw(len(lengths), top), lengths)
    expected = [module.total(n) for n in lengths.tolist()]
    assert module(x, lengths)[1].tolist() == expected, "offline: not total(length) frames"
    assert [len(row) for row in case.stream(x, lengths, case.cuts())] == expected, "streamed: not total(length) frames"


@torch.no_grad()
def whole(case: Case) -> None:
    """8. Whole rows without lengths give what full lengths give: bit for bit in a stream's periods, in any split, offline."""
    module, count = case.module, 3
    frames = case.draw(count, module.first_feed + 6 * module.period + max(1, module.block // 2))
    full = torch.full((count,), frames.shape[1])
    expected, lengths = module(frames, full)
    alone, none = module(frames)
    assert none is None, "whole rows have no output lengths"
    case.close(expected, alone, "offline without lengths")

    y, _, state = module.step(frames[:, : module.first_feed])
    case.close(expected[:, : y.shape[1]], y, "the first feed without lengths")
    parts, at, shapes = [y], module.first_feed, [leaf.shape for _, leaf in leaves(state)]
    for i in range(3):
        x = frames[:, at : at + module.period].contiguous()
        before = as_ragged(state, module.initial_state(count, ragged=True))
        a, n, _ = module.step(x, torch.full((count,), module.period), before)
        y, none, state = module.step(x, None, state)
        assert none is None, "whole rows have no output lengths"
        assert [leaf.shape for _, leaf in leaves(state)] == shapes, "the state's shapes changed within a period"
        a = a[:, : int(n[0])]
        assert a.shape == y.shape, f"period {i}: {y.shape[1]} frames without lengths, {a.shape[1]} with"
        if case.exact:
            assert torch.equal(a, y), f"period {i}: off by {(a - y).abs().max():.1e} without lengths"
        else:  # of double precision: masks may change a tensor's layout in memory, and so the order of its sums
            case.close(a, y, f"period {i} without lengths")
        parts.append(y)
        at += module.period
    for size in case.cuts():
        x = frames[:, at : at + size]
        if x.shape[1]:
            y, _, state = module.step(x, None, state)
            parts.append(y)
        at += size
    parts += [y for y in [module.flush(state)[0]] if y.shape[1]]
    case.close(expected, torch.cat(parts, 1), "a stream without lengths, and its end within a block")
    assert lengths.tolist() == [expected.shape[1]] * count


LAWS = {
    "grouping": grouping,
    "causality": causality,
    "padding": padding,
    "rows": rows_law,
    "shape": shape,
    "flush": flush,
    "whole": whole,
}


def check_law(
    law: str, make: Callable[[], StreamingModule], dtype: torch.dtype = torch.float64, exact: bool = True
) -> None:
    """Hold the module that ``make()`` returns to one of ``LAWS``. Raises AssertionError with the law's name and what broke.

    ``exact`` False: whole rows may round otherwise than ragged ones in a stream's periods too (law 8). All random options of
    the module (dropout, a drawn latency) must be off.
    """
    torch.manual_seed(0)
    try:
        LAWS[law](Case(make(), dtype, exact=exact))
    except (
        AssertionError,
        RuntimeError,
        IndexError,
        ValueError,
    ) as error:  # a wrong shape may surface as torch's own error
        raise AssertionError(f"{law}, {str(dtype).removeprefix('torch.')}: {error}") from error


def check_laws(make: Callable[[], StreamingModule]) -> None:
    """``check_law`` for every law, in float64 and float32."""
    for dtype in (torch.float64, torch.float32):
        for law in LAWS:
            check_law(law, make, dtype)
