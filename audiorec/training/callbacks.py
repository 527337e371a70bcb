"""What a person sees after each epoch: a line, curves as a picture, TensorBoard's hyperparameters, and the run's costs."""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from audiorec.files import replacing, write_text
from audiorec.training.log import LOG, logger
from audiorec.training.module import Training
from audiorec.training.ranks import writes
from audiorec.training.tally import NAMED, listed

COSTS, METRICS = "training.json", "metrics.csv"
SECONDS_BETWEEN_PICTURES = 20.0


class Reporter(Callback):
    """Writes a line an epoch, ``metrics.csv``, ``curves.png`` and ``training.json``. Its history is kept in the checkpoints."""

    def __init__(self, folder: Path, hyperparameters: dict[str, Any]):
        self.folder = folder
        self.hyperparameters = hyperparameters
        self.history: list[dict[str, Any]] = []
        self.without_path: set[str] = set()  # utterances that were named
        self.last_picture = time.monotonic()
        self._begin_epoch()

    def state_dict(self) -> dict[str, Any]:
        so_far = {"seconds": self._seconds(), "waited": self.waited, "step_seconds": self.step_seconds}
        return {"history": self.history, "so_far": so_far}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history = state["history"]
        if so_far := state.get("so_far"):  # of the epoch that goes on; the next one begins anew
            self.seconds_before, self.waited = so_far["seconds"], so_far["waited"]
            self.step_seconds = list(so_far["step_seconds"])

    def _begin_epoch(self) -> None:
        self.start = self.step_end = time.monotonic()
        self.seconds_before = self.waited = 0.0
        self.step_seconds: list[float] = []

    def _seconds(self) -> float:
        """Of this epoch; those before the run was interrupted count."""
        return self.seconds_before + time.monotonic() - self.start

    def on_train_start(self, trainer: lightning.Trainer, module: Training) -> None:
        self.start = self.step_end = time.monotonic()

    def on_fit_start(self, trainer: lightning.Trainer, module: Training) -> None:
        if not writes():
            return
        from torch.utils.tensorboard.summary import hparams

        plain = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in self.hyperparameters.items()}
        # Only the metrics' names are written: TensorBoard takes the values from their curves.
        for summary in hparams(plain, {module.measure.key: 0, "valid_loss": 0}):
            trainer.logger.experiment.file_writer.add_summary(summary)  # the first logger is TensorBoard's

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: Training) -> None:
        self._begin_epoch()

    def on_train_batch_start(self, *_: Any) -> None:
        self.waited += time.monotonic() - self.step_end

    def on_train_batch_end(self, *_: Any) -> None:
        now = time.monotonic()
        self.step_seconds.append(now - self.step_end)
        self.step_end = now

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Training) -> None:
        seconds, step_seconds = self._seconds(), statistics.median(self.step_seconds)
        row = {"epoch": trainer.current_epoch + 1, **module.metrics, "seconds": seconds, "step_seconds": step_seconds}
        row["data_seconds"] = self.waited
        row["losses"] = module.train_tally.batch_losses
        if (peak := _peak_bytes()) is not None:
            row["peak_bytes"] = peak
        self.history.append(row)
        self._write_metrics()
        measure = module.measure
        dropped = [f"{row[f'{part}_dropped']} {part}" for part in ("train", "valid") if row.get(f"{part}_dropped")]
        logger.info(
            f"epoch {row['epoch']:3}/{trainer.max_epochs}  loss {row['train_loss']:.4f}  valid loss "
            f"{row['valid_loss']:.4f}  {measure.name} {measure.scale * row[measure.key]:6.2f}{measure.unit}  {seconds:.1f} s"
            + (f"  from the teacher {row['distillation_loss']:.4f}" if "distillation_loss" in row else "")
            + (f"  without a path: {', '.join(dropped)}" if dropped else "")
        )
        self._name(module.train_tally.without_path, "training")
        self._name(module.valid_tally.without_path, "validation")
        if writes() and time.monotonic() - self.last_picture > SECONDS_BETWEEN_PICTURES:
            self.draw(module)

    def on_fit_end(self, trainer: lightning.Trainer, module: Training) -> None:
        if not self.history or not writes():
            return
        self.draw(module)
        costs = {
            "training_epochs": len(self.history),
            "training_steps": sum(len(row["losses"]) for row in self.history),
            "training_seconds": round(sum(row["seconds"] for row in self.history), 1),
            "training_step_seconds": round(statistics.median(row["step_seconds"] for row in self.history), 3),
            "training_data_share": round(
                sum(row.get("data_seconds", 0.0) for row in self.history) / sum(row["seconds"] for row in self.history),
                3,
            ),
            "training_threads": torch.get_num_threads(),
        }
        if heard := sum(row.get("audio_seconds", 0) for row in self.history):
            costs["training_audio_seconds"] = round(heard, 1)
        if peaks := [row["peak_bytes"] for row in self.history if "peak_bytes" in row]:
            costs["training_peak_bytes"] = max(peaks)
        write_text(self.folder / COSTS, json.dumps(costs, indent=1) + "\n")

    def _write_metrics(self) -> None:
        """A line an epoch, of all that is one number."""
        if not writes():
            return
        columns = [name for name in self.history[-1] if name != "losses"]
        lines = [",".join(columns), *(",".join(str(row.get(name, "")) for name in columns) for row in self.history)]
        write_text(self.folder / METRICS, "\n".join(lines) + "\n")

    def _name(self, without_path: list[str], part: str) -> None:
        """Name utterances that no path was found for, each once in a run: the first on the screen, all in the log."""
        names = [name for name in without_path if name not in self.without_path]
        self.without_path.update(names)
        if names:
            where = f" (all in {self.folder / LOG})" if len(names) > NAMED else ""
            logger.info(f"no path in {part}: more tokens than frames: {listed(names)}{where}")
        for name in names[NAMED:]:
            logger.debug(f"no path in {part}: {name}")

    def draw(self, module: Training) -> None:
        """Loss and error rate over epochs, and the loss of every batch, as ``curves.png``."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        epochs = [row["epoch"] for row in self.history]
        figure = Figure(figsize=(9, 4), layout="constrained")
        FigureCanvasAgg(figure)
        loss, errors = figure.subplots(1, 2)
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
        measure = module.measure
        errors.plot(epochs, [measure.scale * row[measure.key] for row in self.history], marker=".")
        label = f"validation {measure.name}" + (f", {measure.unit.strip()}" if measure.unit else "")
        errors.set(xlabel="epoch", ylabel=label, yscale="symlog", ylim=(0, None))
        with replacing(self.folder / "curves.png") as aside:
            figure.savefig(aside, dpi=110, format="png")
        self.last_picture = time.monotonic()


class StopAfter(Callback):
    """Ends the training with the epoch that brings it to ``steps``. Lightning's ``max_steps`` resumes at an epoch's end as
    if the epoch were not over."""

    def __init__(self, steps: int):
        self.steps = steps

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Training) -> None:
        if trainer.global_step >= self.steps:
            trainer.should_stop = True


def _peak_bytes() -> int | None:
    """The largest memory of this process so far; None on Windows, which does not count it."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
