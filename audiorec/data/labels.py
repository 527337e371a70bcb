"""``labels`` of a data directory: lines ``UTTERANCE START END LABEL``, in seconds from the utterance's start, any number of each.

What no line covers has no label.
"""

import math
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from audiorec.data.tables import Problem, read_rows
from audiorec.data.utterance import Stretch, Utterance

LABELS = "labels"

Lines = dict[str, list[tuple[int, Stretch]]]  # utterance → its stretches in order, each with its line


def read_labels(path: Path, problems: list[Problem]) -> Lines:
    """The stretches of every utterance, reporting lines of another form and stretches that overlap."""
    found: Lines = {}

    def report(line: int, message: str) -> None:
        problems.append(Problem(path.name, line, message))

    for number, key, rest in read_rows(path, problems):
        try:
            start, end, label = rest.split(" ")
            stretch = Stretch(float(start), float(end), label)
        except ValueError:
            report(number, f"expected '{key} START END LABEL', times in seconds and a label of one word")
            continue
        if 0 <= stretch.start < stretch.end < math.inf:
            found.setdefault(key, []).append((number, stretch))
        else:
            report(number, f"utterance {key!r}: {start} to {end} s is no stretch: it needs 0 <= start < end")
    for key, lines in found.items():
        lines.sort(key=lambda line: line[1])
        for (before, a), (number, b) in pairwise(lines):
            if b.start < a.end:
                report(number, f"utterance {key!r}: overlaps line {before}, and a frame has one label: cut one of them")
    return found


def labels_table(utterances: Iterable[Utterance]) -> dict[str, str]:
    """Utterance → the rest of its first line, and the lines after it whole; empty without labels."""
    return {
        utterance.id: f"\n{utterance.id} ".join(f"{x.start:.6f} {x.end:.6f} {x.label}" for x in utterance.labels)
        for utterance in utterances
        if utterance.labels
    }
