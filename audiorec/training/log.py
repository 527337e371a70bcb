"""What a training says: lines on the screen, and with the time and in more detail in the run's ``train.log``."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audiorec.errors import UserError
from audiorec.training.ranks import writes

LOG = "train.log"
logger = logging.getLogger("audiorec.training")


class _Screen(logging.Handler):
    """Prints to the standard output of the moment, which a progress bar may have replaced by its own."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)


@contextmanager
def logging_to(folder: Path, quiet: bool) -> Iterator[None]:
    """Send ``logger``'s lines to ``folder/train.log``, and those of level INFO to the screen unless ``quiet``.

    Of several processes the first alone does so."""
    handlers: list[logging.Handler] = []
    if writes():
        file = logging.FileHandler(folder / LOG, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
        handlers = [file] if quiet else [file, _Screen(logging.INFO)]
    level = logger.level
    logger.setLevel(logging.DEBUG)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    except UserError as error:
        logger.debug("stopped: %s", error)  # the caller shows it
        raise
    finally:
        logger.setLevel(level)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
