"""``export_pt2``: the parts of a live stream as programs of torch.export, for whoever builds on torch; each holds its weights."""

from pathlib import Path
from typing import Any

import torch

from audiorec import __version__
from audiorec.config import dump_yaml
from audiorec.export.check import Programs, check
from audiorec.export.examples import stream_parts, transducer_parts
from audiorec.export.onnx import FORMAT, SETTINGS, facts_of, open_model, write_first_history
from audiorec.files import replacing_folder, write_text
from audiorec.models.transducer import TransducerHead

SIZES = 1, 4  # periods of a step that have a program each

_README = """# A streaming recogniser as programs of torch.export

Written by {producer} with torch {torch}. `torch.export.load(FILE).module()` gives a function of tensors. A stream calls
`begin` with its first {first_feed} samples (B, T), then `step_1` with {period} samples, or `step_4` with four times as many, and
the state; `end` with what is left, zeros after it, `lengths` that count it, and the state. One that ends within its first
samples calls `short`. Results are the frames, then the next state in the order of `state` in export.yaml; `end` and `short`
give frames and their counts.
"""


def export_pt2(
    path: Path | str,
    out: Path | str,
    head: str | None = None,
    latency_ms: float | None = None,
    language: str | None = None,
) -> dict[str, Any]:
    """As ``export_onnx``, which raises the same: ``NAME.pt2`` in place of graphs, loaded again and held to law 7."""
    model, name, tokenizer, config = open_model(path, out, head, latency_ms, language)
    model = model.eval().requires_grad_(False)
    head_ = model.head(name)
    parts = stream_parts(model, head_)
    given = {
        "begin": parts.begin,
        **{f"step_{k}": parts.step(k) for k in SIZES},
        "end": parts.end,
        "short": parts.short,
    }
    settings: dict[str, Any] = {
        "format": FORMAT,
        "kind": "pt2",
        "producer": f"audiorec {__version__}",
        "torch": str(torch.__version__),
        "int8": False,
        "steps": list(SIZES),
        **facts_of(model, name, parts.layout, tokenizer, config),
    }
    with replacing_folder(out) as aside:
        if isinstance(head_, TransducerHead):
            own = transducer_parts(head_)
            given |= {"predictor": own.predictor, "joiner": own.joiner}
            settings |= write_first_history(aside, head_, own, settings["head"])
        for graph, (part, arguments, dynamic) in given.items():
            with torch.no_grad():
                program = torch.export.export(
                    part, tuple(arguments), dynamic_shapes={"tensors": tuple(dynamic)}, strict=False
                )
            torch.export.save(program, aside / f"{graph}.pt2")
        write_text(aside / SETTINGS, dump_yaml(settings))
        write_text(aside / "README.md", _README.format(**settings))
        tokenizer.save(aside)
        settings["error"] = check(Programs(aside), model, name)
    return settings
