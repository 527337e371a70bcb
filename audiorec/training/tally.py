"""The losses of an epoch: kept on the device, read back several batches at a time, so that no step waits for a number."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from audiorec.errors import UserError
from audiorec.losses import sum_losses
from audiorec.training.ranks import add_up, collect

READ_EVERY = 10  # batches between two readings of the losses: each makes a GPU wait
NAMED = 10  # utterances that a message names


class Measure(NamedTuple):
    """What a person reads beside the loss after each epoch: a key of a training's ``metrics``, how it is named and shown."""

    key: str
    name: str
    scale: float = 1.0
    unit: str = ""


class _Batch(NamedTuple):
    place: str
    ids: list[str]
    losses: Tensor  # (H, B)
    target_lengths: Tensor  # (H, B)
    gradient_norm: Tensor | None


class LossTally:
    """Adds up the losses of batches, head by head: sums of losses over sums of targets, whatever the batches are.

    ``batch_losses`` holds the loss of each batch that was read, ``without_path`` the ids of utterances that some head has
    no path for (loss +inf), ``gradient_norm`` the last one read. ``weights`` are those of the heads.
    """

    def __init__(self, weights: Sequence[float]):
        self.weights = torch.tensor(weights, dtype=torch.float64)
        self.loss = torch.zeros_like(self.weights)
        self.targets = torch.zeros_like(self.weights)
        self.batch_losses: list[float] = []
        self.without_path: list[str] = []
        self.gradient_norm: float | None = None
        self._unread: list[_Batch] = []

    def add(
        self, place: str, ids: list[str], losses: Tensor, target_lengths: Tensor, gradient_norm: Tensor | None = None
    ) -> None:
        """Take the losses (H, B) of H heads for B utterances, of so many targets (H, B), or (B,) where all heads have as many.

        Nothing is read yet; ``place`` names the batch in an error.
        """
        lengths = target_lengths.expand_as(losses)
        self._unread.append(_Batch(place, ids, losses.detach(), lengths, gradient_norm))

    def read(self) -> None:
        """Read what was added from the device and count it. Raises UserError where a loss or gradient is not finite."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        sizes = [len(batch.ids) for batch in unread]
        losses = torch.cat([batch.losses for batch in unread], 1).cpu().double().split(sizes, 1)
        lengths = torch.cat([batch.target_lengths for batch in unread], 1).cpu().split(sizes, 1)
        norms = [batch.gradient_norm for batch in unread if batch.gradient_norm is not None]
        gradient_norms = torch.stack(norms).tolist() if norms else [0.0] * len(unread)
        for batch, rows, targets, norm in zip(unread, losses, lengths, gradient_norms, strict=True):
            self._count(batch, rows, targets, norm)
        self.gradient_norm = gradient_norms[-1]

    def over_ranks(self) -> "LossTally":
        """What all processes counted, the same in each; ``batch_losses`` stay this one's."""
        self.read()
        total = LossTally(self.weights.tolist())
        total.loss, total.targets = add_up(self.loss), add_up(self.targets)
        total.without_path, total.batch_losses = collect(self.without_path), self.batch_losses
        total.gradient_norm = self.gradient_norm
        return total

    def state(self) -> dict[str, Any]:
        """What was read so far, in plain values; ``resume`` takes it up again."""
        return {
            "loss": self.loss.tolist(),
            "targets": self.targets.tolist(),
            "batch_losses": list(self.batch_losses),
            "without_path": list(self.without_path),
        }

    def resume(self, state: dict[str, Any]) -> None:
        self.loss, self.targets = (torch.tensor(state[name], dtype=torch.float64) for name in ("loss", "targets"))
        self.batch_losses, self.without_path = list(state["batch_losses"]), list(state["without_path"])

    def mean(self, what: str) -> float:
        """The heads' weighted loss per target of all that was read. Raises UserError where no utterance has a path."""
        if not self.targets.all():
            raise UserError(
                f"{what}: no utterance has a path (more tokens than frames, or several words where a head takes one): "
                f"{listed(self.without_path)}; check the transcripts, the tokenizer and encoder.strides"
            )
        return float(self.weights @ (self.loss / self.targets))

    def _count(self, batch: _Batch, losses: Tensor, target_lengths: Tensor, gradient_norm: float) -> None:
        broken = ~(losses > -torch.inf).all(0)
        if broken.any():
            names = [name for name, is_broken in zip(batch.ids, broken.tolist(), strict=True) if is_broken]
            raise UserError(_diverged(f"{batch.place}: the loss of {listed(names)} is not a number"))
        if not gradient_norm < float("inf"):
            raise UserError(_diverged(f"{batch.place}: the gradient of {listed(batch.ids)} is not finite"))
        loss, targets, _ = sum_losses(losses, target_lengths)
        self.loss += loss
        self.targets += targets
        self.batch_losses.append(float(self.weights @ (loss / targets.clamp(min=1))))
        no_path = (losses == torch.inf).any(0).tolist()
        self.without_path += [name for name, dropped in zip(batch.ids, no_path, strict=True) if dropped]


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _diverged(fault: str) -> str:
    return f"{fault}; the last checkpoint is kept: try a lower optimizer.lr, or trainer.precision=fp32"
