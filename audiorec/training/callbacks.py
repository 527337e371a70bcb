"""What a person sees of a training: a line an epoch, curves as a picture in the run folder, and what it took."""

import json
import os
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from audiorec.training.module import Training

TOOK = "training.json"
SECONDS_BETWEEN_PICTURES = 20.0


class Reporter(Callback):
    """Prints a line an epoch, draws ``curves.png``, writes ``training.json``. Its history is kept in the checkpoints."""

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
        seconds = time.monotonic() - self.began
        row = {"epoch": trainer.current_epoch + 1, **module.metrics, "seconds": seconds}
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
        self.draw()
        took = {
            "training_epochs": len(self.history),
            "training_seconds": round(sum(row["seconds"] for row in self.history), 1),
            "training_audio_seconds": round(sum(row["audio_seconds"] for row in self.history), 1),
            "training_threads": torch.get_num_threads(),
        }
        part = self.folder / ".training.json"
        part.write_text(json.dumps(took, indent=1) + "\n", encoding="utf-8")
        os.replace(part, self.folder / TOOK)

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
