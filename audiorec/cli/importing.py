"""`audiorec import`: another toolkit's streaming model as a model folder."""

from pathlib import Path
from typing import Annotated

import typer

from audiorec.cli.app import app


@app.command("import")
def import_(
    source: Annotated[
        str, typer.Argument(help="A .nemo file, a folder of transformers or icefall, or hf://OWNER/NAME.")
    ],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
) -> None:
    """Make a model folder of NVIDIA's cache-aware FastConformers, or icefall's LSTM transducer: the same weights and numbers."""
    from audiorec.importing import import_model
    from audiorec.importing.hub import downloaded
    from audiorec.models import heads_text, load_model_config, parameter_count

    model = import_model(downloaded(source) if source.startswith("hf:/") else source, out)
    looks = f", look-aheads {', '.join(f'{ms:g}' for ms in model.latencies)} ms" if model.latencies else ""
    heads = heads_text(load_model_config(out / "config.yaml"))
    print(f"{out}: {parameter_count(model) / 1e6:.1f} M parameters, heads {heads}{looks}")
