"""Training losses: one value a row, +inf where a row has no valid path, and the mean that leaves such rows out.

The ``rnnt`` functions bear k2's names, keywords, reductions and numbers: a program written for k2 runs on them.
"""

from audiorec.losses.ctc import ctc_loss
from audiorec.losses.full import FullTransducerLoss
from audiorec.losses.pruned import PrunedTransducerLoss
from audiorec.losses.pruning import (
    do_rnnt_pruning,
    get_rnnt_logprobs_pruned,
    get_rnnt_prune_ranges,
    rnnt_loss_pruned,
)
from audiorec.losses.reduce import LossSum, mean_per_token, sum_losses
from audiorec.losses.simple import (
    get_rnnt_logprobs,
    get_rnnt_logprobs_smoothed,
    rnnt_loss_simple,
    rnnt_loss_smoothed,
)
from audiorec.losses.tdt import TdtLoss, tdt_loss
from audiorec.losses.topology import Topology
from audiorec.losses.transducer import get_rnnt_logprobs_joint, rnnt_loss
from audiorec.losses.viterbi import ViterbiLoss

__all__ = [
    "FullTransducerLoss",
    "LossSum",
    "PrunedTransducerLoss",
    "TdtLoss",
    "Topology",
    "ViterbiLoss",
    "ctc_loss",
    "do_rnnt_pruning",
    "get_rnnt_logprobs",
    "get_rnnt_logprobs_joint",
    "get_rnnt_logprobs_pruned",
    "get_rnnt_logprobs_smoothed",
    "get_rnnt_prune_ranges",
    "mean_per_token",
    "rnnt_loss",
    "rnnt_loss_pruned",
    "rnnt_loss_simple",
    "rnnt_loss_smoothed",
    "sum_losses",
    "tdt_loss",
]
