"""Progress of long work on standard error: a bar in a terminal, now and then a line in a log file."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def progress(task: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of items, of ``total``, that were done since its last call.

    The bar has the time left. Where there is no terminal, work shorter than SECONDS_BETWEEN_LINES writes nothing.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            row = bar.add_task(task, total=total)
            yield lambda count: bar.advance(row, count)
        return
    start = last_line = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, last_line
        done, now = done + count, time.monotonic()
        if now - last_line >= SECONDS_BETWEEN_LINES and 0 < done < total:
            last_line = now
            left = (now - start) / done * (total - done)
            print(f"{task}: {done} of {total}, {left:.0f} s left", file=sys.stderr, flush=True)

    yield advance
