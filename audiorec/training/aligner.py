"""``trainer.aligner``: the best paths of a trained model, along which a transducer learns (Zeyer et al. 2020, 2021)."""

from pathlib import Path

import torch

from audiorec.data.batches import Batch
from audiorec.data.targets import TEXT
from audiorec.errors import UserError
from audiorec.models import AsrModel
from audiorec.models.heads import Head
from audiorec.models.transducer import TransducerHead
from audiorec.search import Alignment
from audiorec.text import Tokenizer
from audiorec.training.trained import load_trained


class Aligner:
    """A trained model that aligns each batch, by the first of its heads that can. It is no module, so no part of ``model``.

    ``heads`` are those of ``model`` that learn along its paths. Raises UserError where there are none, or where frames, pieces
    or paths are others than theirs.
    """

    def __init__(self, source: Path, model: AsrModel, tokenizer: Tokenizer):
        self.heads = {name for name, head in model.heads.items() if head.takes_path}
        if not self.heads:
            raise UserError("trainer.aligner: no head of this recipe has the loss viterbi, which learns its paths")
        self.model = load_trained("trainer.aligner", source, model, tokenizer)
        able = [name for name, head in self.model.heads.items() if type(head).align is not Head.align]
        if not able:
            raise UserError(
                f"trainer.aligner: {source} has the heads {', '.join(self.model.heads)}, and none can align"
            )
        self.head = able[0]
        if _several_a_frame(self.model.heads[self.head]):
            for name in self.heads:
                if not _several_a_frame(model.heads[name]):
                    raise UserError(
                        f"trainer.aligner: {source} may say several symbols a frame, and heads.{name}.loss one; set its "
                        "rnnt_type to regular, or take another aligner"
                    )

    @torch.no_grad()
    def paths(self, batch: Batch) -> dict[str, Alignment]:
        """For each of ``heads`` the best path of each row of a batch, whose plain samples it hears."""
        self.model.to(batch.samples.device)
        x, lengths = self.model.frames(batch.samples, batch.lengths)[self.head]
        path = self.model.heads[self.head].align(x, lengths, *batch.targets[TEXT.name])
        return dict.fromkeys(self.heads, path)


def _several_a_frame(head: torch.nn.Module) -> bool:
    return isinstance(head, TransducerHead) and not head.topology.one_symbol_a_frame
