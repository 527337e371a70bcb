"""The command's frame: the typer application, options that commands share, and errors as one line."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from audiorec import __version__
from audiorec.errors import ConfigError, UserError

# Packages that a plain install does not bring, and the extra that does.
SERVE = "starlette", "uvicorn", "websockets", "python_multipart", "prometheus_client"
EXTRAS = {
    **dict.fromkeys(("lightning", "matplotlib", "tensorboard"), "train"),
    **dict.fromkeys(("onnx", "onnx_ir", "onnxruntime", "onnxscript"), "export"),
    **dict.fromkeys(SERVE, "serve"),
    "huggingface_hub": "import",
    "kenlm": "lm",
}

app = typer.Typer(
    name="audiorec",
    help="Streaming speech recognition: what you measure offline is what you get live.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Kaldi data directories.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Model = Annotated[
    Path, typer.Argument(help="A model directory, a run that holds one, or (transcribe, mic) an exported folder.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto: the first that works of cuda, mps, cpu.")]
Head = Annotated[str | None, typer.Option(help="The head to use; else the first.")]
Latency = Annotated[float | None, typer.Option(min=0, help="Look-ahead of the attention.")]
Language = Annotated[str | None, typer.Option(help="What the model is told it hears; `audiorec info` lists them.")]
AllowPipes = Annotated[
    bool, typer.Option("--allow-pipes", help="Run the commands of wav.scp; of folders that you trust alone.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads to compute with.")]
Runtime = Annotated[str, typer.Option(help="torch, onnx (for an exported folder), or auto: by what the folder holds.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"audiorec {__version__}")
        raise typer.Exit


_VERSION = typer.Option("--version", is_eager=True, callback=_version, help="Print the version and exit.")


@app.callback()
def _options(version: Annotated[bool, _VERSION] = False) -> None:
    pass


def main() -> None:
    """Run a command; what a user can mend is one line on standard error. Exit code 1: failed, 2: wrong use."""
    try:
        app()
    except ConfigError as error:
        _fail(error, 2)
    except UserError as error:
        _fail(error, 1)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        extra, recognises_only = EXTRAS.get(library), find_spec("audiorec.models") is None
        if recognises_only and extra != "serve":
            _fail(f"{library} is not installed: install audiorec-speech in place of audiorec-speech-runtime", 1)
        if extra is None:
            raise
        distribution = "audiorec-speech-runtime" if recognises_only else "audiorec-speech"
        _fail(f"{library} is not installed; pip install '{distribution}[{extra}]'", 1)
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(error: object, code: int) -> None:
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    sys.exit(code)
