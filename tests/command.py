"""The `audiorec` command in this process: a process of its own takes seconds to import torch."""

import contextlib
import io
import subprocess
import sys
from unittest.mock import patch

from audiorec.cli import main


def here(*arguments: object) -> subprocess.CompletedProcess:
    """What a process that runs `audiorec ARGUMENTS` would print, and its exit status."""
    out, error, code = io.StringIO(), io.StringIO(), 0
    command = ["audiorec", *map(str, arguments)]
    with patch.object(sys, "argv", command), contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(command, code, out.getvalue(), error.getvalue())
