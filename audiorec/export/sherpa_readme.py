"""The README.md of an export for sherpa-onnx: ten lines that run it, its tail of silence, and its times."""

from collections.abc import Mapping
from typing import Any

_TEXT = """# A streaming recogniser for sherpa-onnx

Written by {producer} for the stock package: `pip install sherpa-onnx soundfile` (tested with 2.0.1).

```python
import numpy as np, sherpa_onnx, soundfile

recognizer = sherpa_onnx.OnlineRecognizer.{factory}(
    {files}, sample_rate={sample_rate}, feature_dim={feature_dim})
samples, rate = soundfile.read("hello.wav", dtype="float32")  # one channel
stream = recognizer.create_stream()
stream.accept_waveform(rate, np.concatenate([samples, np.zeros(int({tail_seconds} * rate), "float32")]))
while recognizer.is_ready(stream):
    recognizer.decode_stream(stream)
print(recognizer.get_result(stream))
```

**The end.** sherpa-onnx has no flush: what lies behind the last whole chunk ({chunk_ms:g} ms), or within the look-ahead, is
never computed. So give {tail_seconds:g} s of silence after the last sample, as above.

**Features** are Kaldi's, which sherpa-onnx computes: leave its settings for them as they are above. Where a recording begins it
mirrors 7.5 ms of it where audiorec has zeros; 10 ms of silence before it make both the same.

**Latency** {latency_ms:g} ms: a chunk, the look-ahead, and the feature more that sherpa-onnx waits for.

**Times.** sherpa-onnx takes a frame for 40 ms; this model's has {frame_ms:g} ms{late}. The frame of a token begins at
`timestamps[i]{scale}{offset}` seconds. The rules of endpoints count silence after words in that unit, too: for t seconds of it
set `{silence}`.

{search}

`<unk>`, where a model says it, {unknown}. `export.yaml` tells all this to programs.
"""
_CTC = """**Search** is greedy, alone or in batches (`decode_streams`); the package has no beam search for CTC, but takes a
`ctc_graph`."""
_TDT = """**Search** is the model's own greedy one, which lies in the graph and says its tokens as CTC would; alone or in batches
(`decode_streams`). The package has no search that knows durations, so there are neither beam nor hotwords."""
_RNNT = """**Search**: `decoding_method="greedy_search"` or `"modified_beam_search"`, which takes hotwords, alone or in batches
(`decode_streams`). {symbols}{history}"""
_ONE = "Both emit one token a frame at most, as audiorec does with this model."
_MANY = """Both emit one token a frame at most. audiorec's greedy search emits up to {max_symbols} with this model, so its words
may differ where a frame has more than one; `rnnt_type: modified` trains models that need no more."""
_HISTORY = """ The LSTM that reads the tokens so far reads the last
{history} of them anew each time: words are the same up to that many tokens, and may differ after them."""


def readme(settings: Mapping[str, Any]) -> str:
    """The text for an export of these settings."""
    ctc, late, scale = settings["interface"] == "zipformer2_ctc", settings["late_frames"], settings["time_scale"]
    frame = settings["frame_seconds"]
    tdt = settings["head"]["kind"] == "tdt"
    many = "" if ctc else (_ONE if settings["max_symbols"] == 1 else _MANY).format(**settings)
    history = "" if ctc or not settings["history"] else _HISTORY.format(**settings)
    return _TEXT.format(
        **settings,
        factory="from_zipformer2_ctc" if ctc else "from_transducer",
        files='tokens="tokens.txt", model="model.onnx"'
        if ctc
        else 'tokens="tokens.txt", encoder="encoder.onnx", decoder="decoder.onnx", joiner="joiner.onnx",\n    model_type="lstm"',
        chunk_ms=10 * settings["chunk"],
        frame_ms=1000 * frame,
        late=f", and the first {late} frames of a stream are empty" if late else "",
        scale="" if scale == 1 else f" * {scale:g}",
        offset=f" - {late * frame:g}" if late else "",
        silence="t" if scale == 1 else f"t / {scale:g}",
        search=_TDT if tdt else _CTC if ctc else _RNNT.format(symbols=many, history=history),
        unknown="is said as `<unk>`" if ctc else "is said if its token is a word, else left out",
    )
