"""`audiorec export`, in this process and in one of its own, and models for it."""

import contextlib
import io
import subprocess
import sys
from unittest.mock import patch

from audiorec.cli import main
from audiorec.config import parse
from audiorec.models import AsrModel, ModelConfig, save_model
from audiorec.text import train_tokenizer
from tests.conftest import TINY, WORDS


def export(*arguments) -> subprocess.CompletedProcess:
    """The command in a process of its own, which takes seconds to import torch."""
    code = "from audiorec.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "export", *map(str, arguments)], capture_output=True, text=True, timeout=300
    )


def export_here(*arguments) -> subprocess.CompletedProcess:
    """The command in this process."""
    out, error, code = io.StringIO(), io.StringIO(), 0
    command = ["audiorec", "export", *map(str, arguments)]
    with patch.object(sys, "argv", command), contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(command, code, out.getvalue(), error.getvalue())


def model_of(folder, **config):
    config = parse(ModelConfig, {**TINY, **config})
    tokenizer = train_tokenizer("word", [WORDS])
    save_model(folder, AsrModel(config, tokenizer.size), config, tokenizer, "")
    return folder
