"""``trainer.consistency``: each utterance is heard twice under other masks, and CTC is to say the same of both (CR-CTC).

Yao et al. 2025, https://arxiv.org/abs/2410.05101.
"""

import torch
from torch import Tensor

from audiorec.data.batches import Batch
from audiorec.data.draws import seed_of
from audiorec.data.targets import Targets
from audiorec.losses.divergence import divergence
from audiorec.models import AsrModel
from audiorec.models.heads import CtcHead


def twice(batch: Batch) -> Batch:
    """The rows of a batch (B, …) and then the same again, (2B, …), which draw masks of their own."""
    return Batch(
        samples=batch.samples.repeat(2, 1),
        lengths=batch.lengths.repeat(2),
        targets={name: Targets(own.values.repeat(2, 1), own.lengths.repeat(2)) for name, own in batch.targets.items()},
        seeds=[*batch.seeds, *(seed_of(seed, 0, "the second view") for seed in batch.seeds)],
        ids=[*batch.ids, *batch.ids],
        texts=[*batch.texts, *batch.texts],
    )


def disagreement(model: AsrModel, frames: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
    """How far the posteriors of the two views are apart, the mean of both Kullback-Leibler divergences, summed over the frames of
    a batch and over CTC heads. Each view learns from the other as it stands.

    ``frames``: head → the encoder frames (2B, T, C) that it reads, as ``twice`` has them, and their lengths (2B,).
    """
    total = torch.zeros(())
    for name, head in model.heads.items():
        if isinstance(head, CtcHead):
            x, lengths = frames[name]
            one, other = head(x).chunk(2)
            lengths = lengths[: len(one)]
            apart = divergence(one.detach(), other, lengths) + divergence(other.detach(), one, lengths)
            total = total.to(x.device) + apart / 2
    return total
