"""What a person sees of a training: a line an epoch, and curves as a picture in the run folder."""

import os
import time
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from audiorec.training.module import Training

SECONDS_BETWEEN_PICTURES = 20.0


class Reporter(Callback):
    """Prints a line an epoch and draws ``curves.png``. Its history is kept in the checkpoints."""

    def __init__(self, folder: Path, quiet: bool = False):
        self.folder = folder
        self.quiet = quiet
        self.history: list[dict[str, float]] = []
        self.began = self.drawn = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history = state["history"]

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: Training) -> None:
        self.began = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Training) -> None:
        row = {"epoch": trainer.current_epoch + 1, **module.metrics}
        self.history.append(row)
        if not self.quiet:
            seconds = time.monotonic() - self.began
            left = f", {row['dropped']} utterances without a path" if row["dropped"] else ""
            print(
                f"epoch {row['epoch']:3}/{trainer.max_epochs}  loss {row['train_loss']:.4f}  valid loss "
                f"{row['valid_loss']:.4f}  WER {100 * row['valid_wer']:6.2f} %  {seconds:.1f} s{left}",
                flush=True,
            )
        if time.monotonic() - self.drawn > SECONDS_BETWEEN_PICTURES:
            self.draw()

    def on_fit_end(self, trainer: lightning.Trainer, module: Training) -> None:
        self.draw()

    def draw(self) -> None:
        """Loss and word error rate over epochs, as ``curves.png``."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        if not self.history:
            return
        epochs = [row["epoch"] for row in self.history]
        figure = Figure(figsize=(9, 4), layout="constrained")
        FigureCanvasAgg(figure)
        loss, wer = figure.subplots(1, 2)
        loss.plot(epochs, [row["train_loss"] for row in self.history], label="training")
        loss.plot(epochs, [row["valid_loss"] for row in self.history], label="validation")
        loss.set(xlabel="epoch", ylabel="loss per token", yscale="log")
        loss.legend()
        wer.plot(epochs, [100 * row["valid_wer"] for row in self.history])
        wer.set(xlabel="epoch", ylabel="validation WER, %", yscale="symlog", ylim=(0, None))
        part = self.folder / ".curves.png"
        figure.savefig(part, dpi=110, format="png")
        os.replace(part, self.folder / "curves.png")
        self.drawn = time.monotonic()
