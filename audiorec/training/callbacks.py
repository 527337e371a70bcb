"""What a person sees of a training: a line an epoch, curves as a picture in the run folder, and what it took; its end."""

import json
import resource
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from audiorec.files import replacing, write_text
from audiorec.training.module import Training

TOOK = "training.json"
SECONDS_BETWEEN_PICTURES = 20.0


class Reporter(Callback):
    """Prints a line an epoch, draws ``curves.png``, writes ``training.json``. Its history is kept in the checkpoints."""

    def __init__(self, folder: Path, quiet: bool = False):
        self.folder = folder
        self.quiet = quiet
        self.history: list[dict[str, Any]] = []
        self.began = self.drawn = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history = state["history"]

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: Training) -> None:
        self.began = time.monotonic()
        self.step_ends = [self.began]

    def on_train_batch_end(self, *_: Any) -> None:
        self.step_ends.append(time.monotonic())

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Training) -> None:
        seconds = time.monotonic() - self.began
        took = [end - begin for begin, end in pairwise(self.step_ends)]
        row = {"epoch": trainer.current_epoch + 1, **module.metrics, "seconds": seconds}
        row |= {"losses": module.losses, "step_seconds": statistics.median(took), "peak_bytes": _peak_bytes()}
        self.history.append(row)
        if not self.quiet:
            left = f", {row['dropped']} utterances without a path" if row["dropped"] else ""
            print(
                f"epoch {row['epoch']:3}/{trainer.max_epochs}  loss {row['train_loss']:.4f}  valid loss "
                f"{row['valid_loss']:.4f}  WER {100 * row['valid_wer']:6.2f} %  {seconds:.1f} s{left}",
                flush=True,
            )
        if time.monotonic() - self.drawn > SECONDS_BETWEEN_PICTURES:
            self.draw()

    def on_fit_end(self, trainer: lightning.Trainer, module: Training) -> None:
        if not self.history:
            return
        self.draw()
        took = {
            "training_epochs": len(self.history),
            "training_steps": sum(len(row["losses"]) for row in self.history),
            "training_seconds": round(sum(row["seconds"] for row in self.history), 1),
            "training_audio_seconds": round(sum(row["audio_seconds"] for row in self.history), 1),
            "training_step_seconds": round(statistics.median(row["step_seconds"] for row in self.history), 3),
            "training_peak_bytes": max(row["peak_bytes"] for row in self.history),
            "training_threads": torch.get_num_threads(),
        }
        write_text(self.folder / TOOK, json.dumps(took, indent=1) + "\n")

    def draw(self) -> None:
        """Loss and word error rate over epochs, and the loss of every batch, as ``curves.png``."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        epochs = [row["epoch"] for row in self.history]
        figure = Figure(figsize=(9, 4), layout="constrained")
        FigureCanvasAgg(figure)
        loss, wer = figure.subplots(1, 2)
        batches = [
            (row["epoch"] - 1 + i / len(row["losses"]), y)
            for row in self.history
            for i, y in enumerate(row["losses"], 1)
        ]
        loss.plot(*zip(*batches, strict=True), color="C0", alpha=0.3)
        loss.plot(epochs, [row["train_loss"] for row in self.history], marker=".", label="training")
        loss.plot(epochs, [row["valid_loss"] for row in self.history], marker=".", label="validation")
        loss.set(xlabel="epoch", ylabel="loss per token", yscale="log")
        loss.legend()
        wer.plot(epochs, [100 * row["valid_wer"] for row in self.history], marker=".")
        wer.set(xlabel="epoch", ylabel="validation WER, %", yscale="symlog", ylim=(0, None))
        with replacing(self.folder / "curves.png") as aside:
            figure.savefig(aside, dpi=110, format="png")
        self.drawn = time.monotonic()


class StopAfter(Callback):
    """Ends the training with the epoch that brings it to ``steps``. Lightning's ``max_steps`` resumes at an epoch's end as
    if the epoch were not over."""

    def __init__(self, steps: int):
        self.steps = steps

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Training) -> None:
        if trainer.global_step >= self.steps:
            trainer.should_stop = True


def _peak_bytes() -> int:
    """The most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
