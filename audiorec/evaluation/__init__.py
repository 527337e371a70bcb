"""Evaluation: word error rates with their uncertainty, and the page of results."""

from audiorec.evaluation.card import write_card
from audiorec.evaluation.folder import recorded_normalizer
from audiorec.evaluation.kaldi import kaldi_score
from audiorec.evaluation.kept import with_kept, write_rows
from audiorec.evaluation.page import write_page
from audiorec.evaluation.report import render, write_results
from audiorec.evaluation.rows import read_rows
from audiorec.evaluation.wer import (
    Comparison,
    Score,
    alignments,
    compare,
    confidence_interval,
    differences,
    errors_and_words,
    grouped,
    oracle,
    read_nbest,
    read_text,
    score,
)

__all__ = [
    "Comparison",
    "Score",
    "alignments",
    "compare",
    "confidence_interval",
    "differences",
    "errors_and_words",
    "grouped",
    "kaldi_score",
    "oracle",
    "read_nbest",
    "read_rows",
    "read_text",
    "recorded_normalizer",
    "render",
    "score",
    "with_kept",
    "write_card",
    "write_page",
    "write_results",
    "write_rows",
]
