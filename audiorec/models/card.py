"""The model card: the README.md of a model directory."""

from collections.abc import Mapping

from audiorec.models.asr import AsrModel, parameter_count
from audiorec.models.config import ModelConfig
from audiorec.models.describe import latency


def model_card(name: str, lead: str, model: AsrModel, config: ModelConfig, more: Mapping[str, str]) -> str:
    """Markdown: what the model is, in a sentence or two, its size and latency, ``more`` rows of the table, and an example."""
    rows = {
        "parameters": f"{parameter_count(model):,}",
        "sample rate": f"{model.sample_rate} Hz",
        "tokens": config.tokenizer.kind,
        "output frame": f"{1000 * model.frame_seconds:.0f} ms",
        "latency": latency(model),
        **more,
    }
    table = "".join(f"| {key} | {value} |\n" for key, value in rows.items())
    return f"""# {name}

{lead}

| | |
|---|---|
{table}
Offline and streamed use give the same words.

```python
import audiorec
print(audiorec.load("{name}").transcribe("hello.wav").text)
```
"""
