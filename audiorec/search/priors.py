"""``priors.yaml`` of a model's folder: how often a CTC head finds each symbol in a frame, which a search may take off again.

A network's posteriors hold the priors of its training, most of all the blank's; divided by them they are likelihoods, which a
language model of words may be joined with (Bourlard and Morgan 1994; for CTC Miao et al. 2015, EESEN).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import PositiveFloat

from audiorec.config import Config, dump_yaml, parse, read_yaml
from audiorec.errors import UserError
from audiorec.files import write_text

PRIORS = "priors.yaml"
NO_PRIORS = "search.prior_weight: only CTC's symbols have priors; leave it out, or take ilm_weight for a transducer"
UNMEASURED = "search.prior_weight: the priors of this head were not measured: `audiorec priors MODEL --data DIR` does"


class Priors(Config):
    format: Literal[1] = 1
    priors: dict[str, list[PositiveFloat]]


def load_priors(folder: Path, symbols: int) -> dict[str, np.ndarray]:
    """Head → log of the priors of its ``symbols`` (V,) float32; empty where none were measured.

    Raises ConfigError naming what is wrong in the file, UserError where it is of other symbols.
    """
    file = folder / PRIORS
    if not file.exists():
        return {}
    found = parse(Priors, read_yaml(file), source=str(file)).priors
    for head, shares in found.items():
        if len(shares) != symbols:
            raise UserError(
                f"{file}: {head} has {len(shares)} priors, the model has {symbols} symbols; measure them anew"
            )
    return {head: np.log(np.array(shares, np.float32)) for head, shares in found.items()}


def save_priors(folder: Path, priors: Mapping[str, np.ndarray]) -> Path:
    """Write the priors (V,) of heads into a folder in place of older ones; returns the file's path."""
    file = folder / PRIORS
    write_text(
        file, dump_yaml(Priors(priors={head: [float(f"{x:.6g}") for x in each] for head, each in priors.items()}))
    )
    return file
