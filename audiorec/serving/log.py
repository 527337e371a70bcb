"""Logs of a server: a JSON object a line, without what was said unless asked."""

import json
import logging
import sys
import traceback
from datetime import datetime, timezone
from typing import Any, TextIO


class Log:
    """``log("session", model="digits")`` writes one line. With ``words`` texts are written too, else they are left out."""

    def __init__(self, words: bool = False, out: TextIO | None = None):
        self.words = words
        self.out = sys.stderr if out is None else out

    def __call__(self, event: str, **facts: Any) -> None:
        if not self.words:
            facts.pop("text", None)
        time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"time": time, "event": event, **facts}, ensure_ascii=False, default=str)
        self.out.write(line + "\n")
        self.out.flush()

    def error(self, error: BaseException, **facts: Any) -> None:
        """A mistake of the server's own: what a developer needs to find it, in one line."""
        where = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in where]
        self("error", error=f"{type(error).__name__}: {error}", at=places, **facts)


class Lines(logging.Handler):
    """What other libraries log, in the same form: the message without a traceback, for clients cause some of these."""

    def __init__(self, log: Log):
        super().__init__(logging.WARNING)
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        facts = {"logger": record.name, "level": record.levelname.lower(), "message": record.getMessage().strip()}
        if record.exc_info and record.exc_info[0]:
            facts["error"] = record.exc_info[0].__name__
        self.log("log", **facts)
