"""The grid of streams on which an export is held to law 7."""

from audiorec.export.check import TOLERANCE, Exported, largest_error
from audiorec.models import AsrModel


def hold_streams(exported: Exported, model: AsrModel, name: str) -> None:
    """By one row and many, ending within the first feed and after it, in steps of any number of periods."""
    for rows in (1, 7):
        for periods in ([], [1], [1, 2, 1, 3], [5, 1, 8]):
            assert largest_error(exported, model, name, rows, periods, seed=len(periods)) <= TOLERANCE
