"""``trainer.teacher``: a student whose CTC head is to say, frame by frame, what that of a trained model says (Takashima et al.
2018)."""

import torch
from torch import Tensor

from audiorec.data.batches import Batch
from audiorec.errors import UserError
from audiorec.losses.divergence import divergence
from audiorec.models import AsrModel
from audiorec.models.heads import CtcHead
from audiorec.text import Tokenizer
from audiorec.training.config import TrainerConfig
from audiorec.training.trained import load_trained

Frames = dict[str, tuple[Tensor, Tensor]]  # head → the encoder frames (B, T, C) that it reads, and their lengths


class Teacher:
    """A trained model, and what a student's frames lack to agree with it. It is no module, so no part of the student either.

    Raises UserError where there is no CTC head, or frames or symbols are others than the student's.
    """

    def __init__(self, options: TrainerConfig, student: AsrModel, tokenizer: Tokenizer):
        assert options.teacher
        self.model = load_trained("trainer.teacher", options.teacher, student, tokenizer)
        self.head, self.student_head = _ctc(self.model, f"{options.teacher}"), _ctc(student, "this recipe")
        self.temperature, self.shift = options.teacher_temperature, options.teacher_shift

    def divergence(self, student: AsrModel, frames: Frames, batch: Batch) -> tuple[Tensor, Tensor]:
        """The Kullback-Leibler divergence of the student's posteriors from the teacher's, summed over the frames of a batch, and
        how many these are. ``frames`` are the student's, ``shift`` later than the teacher's, which hears the plain samples."""
        with torch.no_grad():
            self.model.to(batch.samples.device)
            x, lengths = self.model.frames(batch.samples, batch.lengths)[self.head]
            wanted = self._scores(self.model, self.head, x)
        x, own_lengths = frames[self.student_head]
        said = self._scores(student, self.student_head, x[:, self.shift :])
        size = min(wanted.shape[1], said.shape[1])
        wanted, said = wanted[:, :size], said[:, :size]
        valid = torch.minimum(lengths, own_lengths - self.shift)
        # By T² the gradients stay as large as they are at 1.
        return self.temperature**2 * divergence(wanted, said, valid), valid.clamp(min=0).sum()

    def _scores(self, model: AsrModel, head: str, x: Tensor) -> Tensor:
        return (model.heads[head](x) / self.temperature).log_softmax(-1)


def _ctc(model: AsrModel, name: str) -> str:
    """Its first CTC head."""
    found = [key for key, head in model.heads.items() if isinstance(head, CtcHead)]
    if not found:
        raise UserError(
            f"trainer.teacher: {name} has the heads {', '.join(model.heads)}, and both models need one of ctc"
        )
    return found[0]
