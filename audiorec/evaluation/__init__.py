"""Evaluation: word error rates with their uncertainty, and the page of results."""

from audiorec.evaluation.card import write_card
from audiorec.evaluation.folder import recorded_normalizer
from audiorec.evaluation.report import read_rows, render, write_results
from audiorec.evaluation.wer import Score, alignments, confidence_interval, differences, read_text, score

__all__ = [
    "Score",
    "alignments",
    "confidence_interval",
    "differences",
    "read_rows",
    "read_text",
    "recorded_normalizer",
    "render",
    "score",
    "write_card",
    "write_results",
]
