"""Forced alignment: where the tokens of a known text lie, by the best path through a head's lattice (Viterbi 1967)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec.decoders import Joiner, Predictor
from audiorec.losses.transducer import arcs as topology
from audiorec.streaming import valid
from audiorec.text import BLANK

CHUNK = 16  # frames whose joiner logits are there at once


@dataclass
class Alignment:
    """Token i of row b lies in frames ``starts[b, i]`` to ``ends[b, i] - 1``, both (B, S) int64; ``scores`` (B,) is the
    path's log-probability: −inf where the tokens do not fit into the frames, and then the rest means nothing."""

    starts: Tensor
    ends: Tensor
    scores: Tensor


@torch.no_grad()
def align_ctc(log_probs: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Alignment:
    """The best CTC path of log_probs (B, T, V), lengths (B,), tokens (B, S) with token_lengths (B,).

    A token lies where the path says it, the first of these frames being the one that greedy search would give.
    """
    batch, time = log_probs.shape[:2]
    count = 2 * tokens.shape[1] + 1  # states: blank, token, blank, …, blank
    symbols = tokens.new_full((batch, count), BLANK)
    symbols[:, 1::2] = tokens
    emission = log_probs.double().gather(2, symbols[:, None].expand(-1, time, -1))
    # Past a blank between two different tokens; never past a token.
    may_skip = (symbols != BLANK) & (symbols != F.pad(symbols, (2, 0), value=BLANK)[:, :count])
    best = emission.new_full((batch, count), -torch.inf)
    best[:, 0] = 0  # a blank that no frame has said yet
    came = torch.empty(time, batch, count, dtype=torch.uint8, device=tokens.device)
    live = valid(lengths, time)
    for t in range(time):
        one, two = (F.pad(best, (step, 0), value=-torch.inf)[:, :count] for step in (1, 2))
        values, steps = torch.stack([best, one, two.masked_fill(~may_skip, -torch.inf)]).max(0)
        best = torch.where(live[:, t, None], values + emission[:, t], best)
        came[t] = steps.to(torch.uint8)
    end = 2 * token_lengths[:, None]
    ends = torch.cat([end, (end - 1).clamp(min=0)], 1)  # the last blank, or the last token
    scores, which = best.gather(1, ends).max(1)
    state = ends.gather(1, which[:, None])
    path = state.new_full((batch, time), count)
    for t in range(time - 1, -1, -1):
        here = live[:, t, None]
        path[:, t : t + 1] = torch.where(here, state, count)
        state = torch.where(here, state - came[t].gather(1, state), state)
    # A path never goes back, so that a token's frames are those between its neighbours'.
    states = torch.arange(1, count, 2, device=tokens.device).expand(batch, -1).contiguous()
    return Alignment(torch.searchsorted(path, states), torch.searchsorted(path, states, right=True), scores)


@torch.no_grad()
def align_transducer(
    predictor: Predictor,
    joiner: Joiner,
    x: Tensor,
    lengths: Tensor,
    tokens: Tensor,
    token_lengths: Tensor,
    rnnt_type: str = "regular",
    durations: Sequence[int] = (),
) -> Alignment:
    """The best path through the whole lattice of x (B, T, C), lengths (B,), tokens (B, S) with token_lengths (B,).

    A token lies in the frame that emits it, and with ``durations`` in those that it lasts. Memory: a few numbers for each
    frame and token, (2 + D) · B · T · (S + 1).
    """
    px, py, lasting = _scores(predictor, joiner, x, tokens, len(durations))
    if durations:
        pairs = list(zip(durations, lasting.unbind(0), strict=True))
        sorts = [((1, d), px + log_p) for d, log_p in pairs] + [((0, d), py + log_p) for d, log_p in pairs if d]
    else:
        of_symbols, _ = topology(px[:, :-1], py, None, rnnt_type)
        moves = (1, 0 if rnnt_type == "regular" else 1)
        sorts = [(moves, F.pad(of_symbols[..., : x.shape[1]], (0, 0, 0, 1), value=-torch.inf)), ((0, 1), py)]
    moves, arcs = zip(*sorts, strict=True)
    arcs = torch.stack(arcs).masked_fill(~valid(lengths, x.shape[1])[:, None], -torch.inf)
    return best_path(F.pad(arcs, (0, 1), value=-torch.inf), moves, lengths, token_lengths)


def best_path(arcs: Tensor, moves: Sequence[tuple[int, int]], lengths: Tensor, token_lengths: Tensor) -> Alignment:
    """The best path from (0, 0) to (token_lengths, lengths) over arcs (K, B, S+1, T+1): log-probability of arc k out of node
    (s, t), which leads to (s, t) + moves[k], so many symbols and frames."""
    sorts, batch, rows, columns = arcs.shape
    device = arcs.device
    # Nodes are taken level by level: by frame, or by anti-diagonal where an arc may stay within its frame.
    skew = int(any(dt == 0 for _, dt in moves))
    steps = [dt + skew * ds for ds, dt in moves]
    s = torch.arange(rows, device=device)
    t = (
        torch.arange(columns + skew * (rows - 1), device=device)[:, None] - skew * s
    )  # the frame of node s on each level
    into = arcs.new_full((len(t), sorts, batch, rows), -torch.inf, dtype=torch.float64)
    for k, (ds, dt) in enumerate(moves):
        there = (s >= ds) & (t >= dt) & (t < columns)
        found = arcs[k][:, (s - ds).clamp(min=0), (t - dt).clamp(0, columns - 1)]
        into[:, k] = torch.where(there, found.double(), -torch.inf).transpose(0, 1)
    # Levels and symbols before the first are padding, so that an arc's source is always there.
    margin, pad = max(steps), max(ds for ds, _ in moves)
    best = into.new_full((margin + len(t), batch, pad + rows), -torch.inf)
    best[margin, :, pad] = 0
    came = torch.zeros(len(t), batch, rows, dtype=torch.uint8, device=device)
    sources = [slice(pad - ds, pad - ds + rows) for ds, _ in moves]
    for level in range(1, len(t)):
        before = [best[margin + level - step][:, source] for step, source in zip(steps, sources, strict=True)]
        best[margin + level, :, pad:], which = (into[level] + torch.stack(before)).max(0)
        came[level] = which.to(torch.uint8)

    s, t, row = token_lengths.clone(), lengths.clone(), torch.arange(batch, device=device)
    scores = best[margin + t + skew * s, row, pad + s]
    starts, ends = s.new_zeros(2, batch, max(rows - 1, 1)).unbind(0)
    symbols, frames = torch.tensor(moves, device=device).unbind(1)
    while len(row := ((scores > -torch.inf) & (s + t > 0)).nonzero()[:, 0]):
        arc = came[t[row] + skew * s[row], row, s[row]].long()
        s[row] -= symbols[arc]
        t[row] -= frames[arc]
        emits = symbols[arc] > 0
        row, arc = row[emits], arc[emits]
        starts[row, s[row]] = t[row]
        ends[row, s[row]] = t[row] + frames[arc].clamp(min=1)
    return Alignment(starts[:, : rows - 1], ends[:, : rows - 1], scores)


def _scores(
    predictor: Predictor, joiner: Joiner, x: Tensor, tokens: Tensor, durations: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of the next symbol and of the blank, (B, S+1, T) each, and of the durations (D, B, S+1, T)."""
    frames, histories = joiner.encoder_proj(x), joiner.predictor_proj(predictor(tokens))
    following = F.pad(tokens, (0, 1), value=BLANK)[:, None, :, None]
    parts = []
    for part in frames.split(CHUNK, 1):
        logits = joiner(part[:, :, None], histories[:, None]).float()
        of_symbols, of_durations = logits.split([logits.shape[-1] - durations, durations], -1)
        log_probs = of_symbols.log_softmax(-1)
        px = log_probs.gather(3, following.expand(-1, part.shape[1], -1, -1))
        parts.append(torch.cat([px, log_probs[..., BLANK, None], of_durations.log_softmax(-1)], -1))
    px, py, *lasting = torch.cat(parts, 1).transpose(1, 2).unbind(-1)
    return px, py, torch.stack(lasting) if lasting else px.new_zeros(0, *px.shape)
