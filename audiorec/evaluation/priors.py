"""How often a CTC head finds each symbol in a frame, blank included."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from audiorec.data.kaldi import Recordings, read_data_dir
from audiorec.data.select import evenly
from audiorec.evaluation.decode import batches
from audiorec.evaluation.tune import encoded

if TYPE_CHECKING:
    from audiorec.recognizer import Recognizer

UTTERANCES = 300  # that are measured, at most
LEAST = 1e-8  # of a symbol that no frame has


@torch.inference_mode()
def measure_priors(recognizer: "Recognizer", data: Path | str, allow_pipes: bool = False) -> np.ndarray:
    """The mean posterior (V,) of each symbol over the frames of ``data``, of the recogniser's CTC head."""
    chosen = evenly(read_data_dir(data, require_text=False, allow_pipes=allow_pipes), UTTERANCES)
    head = recognizer.model.head(recognizer.head)
    total, count = torch.zeros((), dtype=torch.float64), 0
    for _, x, lengths in encoded(recognizer, batches(chosen, Recordings(), recognizer.sample_rate)):
        for row, n in zip(head(x), lengths.tolist(), strict=True):
            total = total + row[:n].exp().sum(0).double().cpu()
            count += n
    return (total / max(count, 1)).clamp(min=LEAST).numpy()
