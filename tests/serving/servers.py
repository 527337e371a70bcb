"""A server as a user starts it, in a process of its own, and the small models that it serves."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

from audiorec.models import save_model, write_delays
from audiorec.text import train_tokenizer
from audiorec.transcript import Delay
from tests.conftest import WORDS
from tests.models.test_heads import make, sharpen

# name → head, and what makes its blank likelier, so that a pause is one
HEADS = {"ctc": ("ctc", 0.0), "rnnt": ("modified", 12.0)}
DELAY = Delay(begin=(0, 0, 0), end=(0, 0, 0), tail=0.3)  # silence that each stream hears at its end


def save_models(folder: Path, speech) -> dict[str, Path]:
    """A model of each head, with random weights that say something."""
    paths = {}
    for name, (kind, blank) in HEADS.items():
        model, config = make("lstm", kind)
        sharpen(model, speech[8000:24000])
        head = model.head()
        (head.joiner.output if hasattr(head, "joiner") else head.linear).bias.data[0] += blank
        paths[name] = folder / name
        save_model(paths[name], model, config, train_tokenizer("word", [WORDS]), f"# {name}\n")
        write_delays(paths[name], {next(iter(model.heads)): DELAY})
    return paths


class Running:
    """``audiorec serve`` with these arguments on a free port. ``log()`` are the lines it wrote so far.

    ``absent`` is a package that it cannot import.
    """

    def __init__(self, *arguments: object, absent: str = "", **environment: str):
        code = f"import sys; sys.modules[{absent!r}] = None; from audiorec.cli import main; main()"
        command = [sys.executable, "-c", code, "serve", "--port", "0", *map(str, arguments)]
        env = {**os.environ, **environment}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, encoding="utf-8"
        )
        self._log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        line = self.process.stdout.readline()
        found = re.fullmatch(r"serving (.+) at (https?)://([^:]+):(\d+)(.*)\n", line)
        assert found, (line, self.stop())
        self.line, self.port = line, int(found[4])
        self.http = f"{found[2]}://{found[3]}:{self.port}"
        wyoming = re.search(r"tcp://[^:]+:(\d+)", found[5])
        self.wyoming = wyoming and int(wyoming[1])
        self.ws = self.http.replace("http", "ws", 1)

    def _read(self) -> None:
        for line in self.process.stderr:
            self._log.append(line)

    def log(self) -> list[dict]:
        """Every line is JSON: nothing else, so no traceback, may be there."""
        lines = list(self._log)
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            raise AssertionError("".join(lines)) from None

    def stop(self, seconds: float = 20) -> tuple[int, str]:
        """Ask it to stop: its exit code and all that it logged."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._reader.join(5)
        return code, "".join(self._log)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()
