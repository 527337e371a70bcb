"""The recorded model of icefall's own classes, as icefall keeps one."""

from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parent.parent / "golden" / "icefall" / "lstm.npz"
PIECES = ["<blk>", "<sos/eos>", "<unk>", "▁one", "▁t", "wo", "▁", "s", "e", "v", "n", "x"]


def recorded() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN))


def weights() -> dict[str, torch.Tensor]:
    """icefall's own state dict."""
    of_weights = [(name, array) for name, array in recorded().items() if name.startswith("weights/")]
    return {name.removeprefix("weights/"): torch.from_numpy(array).float() for name, array in of_weights}


def write(folder: Path, weights: dict[str, torch.Tensor], table: bool = True) -> Path:
    """A folder as a recipe of icefall leaves it."""
    (folder / "exp").mkdir(parents=True)
    (folder / "data/lang_bpe_9").mkdir(parents=True)
    torch.save({"model": weights}, folder / "exp/pretrained.pt")
    if table:
        lines = [f"{piece} {i}" for i, piece in enumerate([*PIECES, "#0"])]
        (folder / "data/lang_bpe_9/tokens.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
