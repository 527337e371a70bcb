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
{feed}
while recognizer.is_ready(stream):
    recognizer.decode_stream(stream)
print(recognizer.get_result(stream))
```

**The end.** sherpa-onnx has no flush: what lies behind the last whole chunk ({chunk_ms:g} ms), or within the look-ahead, is
never computed. So give {tail_seconds:g} s of silence after the last sample, as above.

{features}

**Latency** {latency_ms:g} ms: a chunk, the look-ahead, and the feature more that sherpa-onnx waits for.

**Times.** sherpa-onnx takes a frame for {sherpa_frame_ms:g} ms; this model's has {frame_ms:g} ms{late}. The frame of a
token begins at `timestamps[i]{scale}{offset}` seconds. The rules of endpoints count silence after words in that unit, too: for t
seconds of it set `{silence}`.

{search}

`<unk>`, where a model says it, {unknown}. `export.yaml` tells all this to programs.
"""
_PLAIN_FEED = """silence = np.zeros(int({tail_seconds} * rate), "float32")
stream.accept_waveform(rate, np.concatenate([samples, silence]))"""
_NEMO_FEED = """before, after = (np.zeros(int(seconds * rate), "float32") for seconds in ({silence_before}, {tail_seconds}))
stream.accept_waveform(rate, {sample_scale} * np.concatenate([before, samples, after]))"""
_KALDIS = """**Features** are Kaldi's, which sherpa-onnx computes: leave its settings for them as they are above. Where a
recording begins it mirrors 7.5 ms of it where audiorec has zeros; 10 ms of silence before it make both the same."""
_NEMOS = """**Features** are NeMo's, near enough to have the same words, if two things are done as above. Samples go in as 16-bit
numbers: sherpa-onnx cuts off energies at 1.19e-7, which is louder than quiet speech between -1 and 1; the graph scales them
back. And 5 ms of silence go before the first sample, since its frames are centred half a hop later than NeMo's. What remains is
its Hann window, which is longer by a 400th."""
_CTC = """**Search** is greedy, alone or in batches (`decode_streams`); the package has no beam search for CTC, but takes a
`ctc_graph`."""
_TDT = """**Search** is the model's own greedy one, which lies in the graph and says its tokens as CTC would; alone or in batches
(`decode_streams`). The package has no search that knows durations, so there are neither beam nor hotwords."""
_RNNT = """**Search**: `decoding_method="greedy_search"` or `"modified_beam_search"`, which takes hotwords, alone or in batches
(`decode_streams`). {symbols}{history}"""
_NEMO = """**Search**: `decoding_method="greedy_search"`, alone or in batches (`decode_streams`), of up to {max_symbols} symbols a
frame, as audiorec's."""
_ONE = "Both emit one token a frame at most, as audiorec does with this model."
_MANY = """Both emit one token a frame at most. audiorec's greedy search emits up to {max_symbols} with this model, so its words
may differ where a frame has more than one; `rnnt_type: modified` trains models that need no more."""
_HISTORY = """ The LSTM that reads the tokens so far reads the last
{history} of them anew each time: words are the same up to that many tokens, and may differ after them."""


def readme(settings: Mapping[str, Any]) -> str:
    """The text for an export of these settings."""
    late, scale, frame = settings["late_frames"], settings["time_scale"], settings["frame_seconds"]
    interface, tdt = settings["interface"], settings["head"]["kind"] == "tdt"
    ctc, of_nemo = "ctc" in interface, interface.startswith("nemo")
    if ctc:
        search = _TDT if tdt else _CTC
    elif of_nemo:
        search = _NEMO.format(**settings)
    else:
        symbols = (_ONE if settings["max_symbols"] == 1 else _MANY).format(**settings)
        search = _RNNT.format(symbols=symbols, history=_HISTORY.format(**settings) if settings["history"] else "")
    files = "tokens", *(["model"] if ctc else ["encoder", "decoder", "joiner"])
    kind = ',\n    model_type="lstm"' if interface == "lstm" else ""
    return _TEXT.format(
        **settings,
        factory=f"from_{interface}" if ctc else "from_transducer",
        files=", ".join(f'{name}="{name}.{"txt" if name == "tokens" else "onnx"}"' for name in files) + kind,
        feed=(_NEMO_FEED if of_nemo else _PLAIN_FEED).format(**settings),
        features=_NEMOS if of_nemo else _KALDIS,
        chunk_ms=10 * settings["chunk"],
        sherpa_frame_ms=1000 * frame / settings["slots"] / scale,
        frame_ms=1000 * frame,
        late=f", and the first {late} frames of a stream are empty" if late else "",
        scale="" if scale == 1 else f" * {scale:g}",
        offset=f" - {late * frame:g}" if late else "",
        silence="t" if scale == 1 else f"t / {scale:g}",
        search=search,
        unknown="is said as `<unk>`" if ctc or of_nemo else "is said if its token is a word, else left out",
    )
