"""Model folders that earlier versions wrote still load, and give what they gave: tests/models/released, tiny and random."""

from pathlib import Path

import numpy as np
import pytest
import torch

from audiorec.models import load_model

FOLDERS = sorted((Path(__file__).parent / "released").iterdir())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_of_version_0_1_gives_what_it_gave(folder):
    model, _, _ = load_model(folder)
    samples = 0.1 * torch.randn(1, 4000, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        y, _ = model(samples)
    torch.testing.assert_close(y, torch.from_numpy(np.load(folder / "output.npy")), rtol=1e-5, atol=1e-5)
