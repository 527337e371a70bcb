"""The model card: the README.md of a model directory."""

from pathlib import Path

from audiorec import __version__
from audiorec.models import AsrModel, heads_text, latency, parameter_count
from audiorec.training.config import RunConfig


def model_card(
    model: AsrModel, config: RunConfig, checkpoints: list[str], out: Path, data: tuple[Path, Path] | None
) -> str:
    """Markdown: the model's parts, training data, size and latency, and the checkpoints that were averaged."""
    heads = heads_text(config)
    data_row = f"| trained on | {data[0]}, validated on {data[1]} |\n" if data else ""
    return f"""# {out.name}

A streaming speech recogniser made by audiorec {__version__}: encoder {config.encoder.kind}, heads {heads}.

| | |
|---|---|
| parameters | {parameter_count(model):,} |
| sample rate | {model.sample_rate} Hz |
| tokens | {config.tokenizer.kind} |
| output frame | {1000 * model.frame_seconds:.0f} ms |
| latency | {latency(model)} |
{data_row}| checkpoints averaged | {", ".join(checkpoints)} |

Offline and streamed use give the same words.

```python
import audiorec
print(audiorec.load("{out.name}").transcribe("hello.wav").text)
```
"""
