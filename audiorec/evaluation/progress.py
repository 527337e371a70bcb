"""Progress of long work over many utterances: a bar in a terminal, now and then a line in a log file."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def progress(task: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function that is told how many utterances of ``total`` are done since the last call.

    It writes to standard error: in a terminal a bar with the time left; elsewhere a line every 30 seconds, so that short
    work writes none.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn(task), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            row = bar.add_task(task, total=total)
            yield lambda count: bar.advance(row, count)
        return
    done, start = 0, time.monotonic()
    printed = start

    def advance(count: int) -> None:
        nonlocal done, printed
        done, now = done + count, time.monotonic()
        if now - printed >= SECONDS_BETWEEN_LINES and done < total:
            left = (now - start) / done * (total - done)
            print(f"{task}: {done} of {total}, about {left:.0f} s left", file=sys.stderr, flush=True)
            printed = now

    yield advance
