"""How far a cache-aware FastConformer's live steps are from its own offline pass, by who computes them: at 112 lengths.

    python tools/bench/nemo_steps.py tests/golden/nemo/hybrid.nemo --by nemo          # needs nemo_toolkit[asr]
    python tools/bench/nemo_steps.py tests/golden/nemo/hybrid.nemo --by transformers  # needs transformers
    python tools/bench/nemo_steps.py tests/golden/nemo/hybrid.nemo --by audiorec
    python tools/bench/nemo_steps.py tests/golden/nemo/hybrid.nemo --by features      # needs transformers

The lengths are a hop apart, so that every phase of the largest chunk, 112 hops, is there once. NeMo and transformers get the mel
frames of the whole recording, cut in chunks, as NeMo's own script streams a file. transformers takes whole chunks alone, and
asks to fill the last one up. A row has the largest difference over the largest value of the frames that both have, and at how
many lengths the steps gave fewer frames. `--by features` prints how far NeMo's mel frames of pieces of a chunk's length, each
alone, are from those of the whole.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

HOP, LENGTHS = 160, 112
LOOKAHEADS = [13, 6, 1, 0]
Frames = torch.Tensor  # (T, dim)
Pair = Callable[[torch.Tensor, int], tuple[Frames, Frames]]  # samples (N,), look-ahead → offline, streamed


def nemo(path: Path) -> Pair:
    import logging

    from nemo.collections.asr.models import EncDecHybridRNNTCTCBPEModel
    from nemo.collections.asr.parts.utils.streaming_utils import CacheAwareStreamingAudioBuffer

    logging.disable(logging.WARNING)
    model = EncDecHybridRNNTCTCBPEModel.restore_from(str(path), map_location="cpu").eval()
    model.preprocessor.featurizer.dither = 0.0
    encoder = model.encoder

    def features(samples: torch.Tensor) -> torch.Tensor:
        mel, count = model.preprocessor(input_signal=samples[None], length=torch.tensor([len(samples)]))
        return mel[:, :, : int(count)]

    def steps(mel: torch.Tensor) -> Iterator[tuple[torch.Tensor, bool]]:
        buffer = CacheAwareStreamingAudioBuffer(model=model, online_normalization=False, pad_and_drop_preencoded=False)
        buffer.append_processed_signal(mel, stream_id=-1)
        for chunk, _ in iter(buffer):
            yield chunk, buffer.is_buffer_empty()

    def pair(samples: torch.Tensor, right: int) -> tuple[Frames, Frames]:
        encoder.set_default_att_context_size([70, right])
        mel = features(samples)
        offline, count = encoder(audio_signal=mel, length=torch.tensor([mel.shape[2]]))
        offline = offline[0, :, : int(count)].T
        encoder.setup_streaming_params(att_context_size=[70, right])
        channel, time, length = encoder.get_initial_cache_state(batch_size=1, dtype=torch.float32)
        parts = []
        for i, (chunk, last) in enumerate(steps(mel)):
            y, n, channel, time, length = encoder.cache_aware_stream_step(
                processed_signal=chunk,
                processed_signal_length=torch.tensor([chunk.shape[2]]),
                cache_last_channel=channel,
                cache_last_time=time,
                cache_last_channel_len=length,
                keep_all_outputs=last,
                drop_extra_pre_encoded=0 if i == 0 else encoder.streaming_cfg.drop_extra_pre_encoded,
            )
            parts.append(y[0, :, : int(n)].T)
        return offline, torch.cat(parts)

    return pair


def transformers(path: Path) -> Pair:
    sys.path[0] = str(
        Path(__file__).parents[1] / "golden"
    )  # in place of this folder, whose names transformers takes for others'
    from nemotron import build, weights_of
    from transformers import NemotronAsrStreamingFeatureExtractor

    extract = NemotronAsrStreamingFeatureExtractor()
    encoder = build(weights_of(path)).encoder

    def features(samples: np.ndarray, **options) -> torch.Tensor:
        found = extract(samples, sampling_rate=16000, return_tensors="pt", **options)
        return found["input_features"][:, : int(found["attention_mask"].sum())]

    def pair(samples: torch.Tensor, right: int) -> tuple[Frames, Frames]:
        audio = samples.numpy()
        mel = features(audio)
        mask = torch.ones(mel.shape[:2], dtype=torch.bool)
        output = encoder(mel, attention_mask=mask, num_lookahead_tokens=right)
        offline = output.last_hidden_state[0, : int(output.attention_mask.sum())]
        parts, cache, padding, at = [], None, None, 0
        while at < mel.shape[1]:
            # As the processor cuts: the first chunk has 1 + 8 · look-ahead frames, later ones 8 · (look-ahead + 1).
            size = 1 + 8 * right if at == 0 else 8 * (right + 1)
            chunk = mel[:, at : at + size]
            if chunk.shape[1] < size:  # its class refuses a chunk of another size: it is filled up with silence
                chunk = torch.nn.functional.pad(chunk, (0, 0, 0, size - chunk.shape[1]), value=float(np.log(2.0**-24)))
            step = encoder(chunk, use_cache=True, cache=cache, padding_cache=padding, num_lookahead_tokens=right)
            cache, padding = step.cache, step.padding_cache
            parts.append(step.last_hidden_state[0])
            at += size
        streamed = torch.cat(parts)
        return offline, streamed[: len(offline)]

    return pair


def features_of_pieces(samples: np.ndarray) -> None:
    """Prints, for pieces of each chunk's length, the largest and the mean difference over the largest value."""
    from transformers import NemotronAsrStreamingFeatureExtractor

    extract = NemotronAsrStreamingFeatureExtractor()

    def features(x: np.ndarray) -> np.ndarray:
        found = extract(x, sampling_rate=16000, return_tensors="np")["input_features"][0]
        return found[: len(x) // HOP]

    whole = features(samples)
    print("| pieces of, ms | largest difference | mean | frames that differ |\n|---:|---:|---:|---:|")
    for right in LOOKAHEADS:
        size = 8 * HOP * (right + 1)
        pieces = np.concatenate([features(samples[at : at + size]) for at in range(0, len(samples) - HOP, size)])
        errors = np.abs(pieces - whole).max(1) / np.abs(whole).max()
        print(f"| {80 * (right + 1)} | {errors.max():.2f} | {errors.mean():.3f} | {np.mean(errors > 1e-4):.0%} |")


def audiorec(path: Path) -> Pair:
    from tempfile import mkdtemp

    from audiorec.importing import import_model

    model = import_model(path, Path(mkdtemp()) / "model")
    views = {right: model.at_latency(80.0 * right) for right in LOOKAHEADS}

    def pair(samples: torch.Tensor, right: int) -> tuple[Frames, Frames]:
        view, x = views[right], samples[None, :, None]
        parts, state, at = [], None, 0
        while at < x.shape[1]:
            size = view.first_feed if at == 0 else view.period
            y, _, state = view.step(x[:, at : at + size], None, state)
            parts.append(y[0])
            at += size
        return view(samples[None])[0][0], torch.cat([*parts, view.flush(state)[0][0]])

    return pair


WAYS: dict[str, dict[str, Callable[[Path], Pair]]] = {
    "nemo": {"NeMo, features of the whole recording": nemo},
    "transformers": {"transformers, features of the whole recording": transformers},
    "audiorec": {"audiorec, samples": audiorec},
}


@torch.no_grad()
def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("model", type=Path)
    arguments.add_argument("--by", choices=[*WAYS, "features"], required=True)
    arguments.add_argument("--seconds", type=float, default=6.2, help="of the shortest recording")
    arguments = arguments.parse_args()
    speech = np.load(arguments.model.with_name("speech.npz"))["samples"].astype(np.float32) / 32768
    if arguments.by == "features":
        return features_of_pieces(speech)
    shortest = int(arguments.seconds * 16000) // HOP * HOP + 77  # the end lies within a hop
    print(
        "| steps | look-ahead, ms | before the last chunk | in the last chunk | fewer frames at |\n|---|---:|---:|---:|---:|"
    )
    for name, make in WAYS[arguments.by].items():
        pair = make(arguments.model)
        for right in LOOKAHEADS:
            before, last, fewer = 0.0, 0.0, 0
            for i in range(LENGTHS):
                offline, streamed = pair(torch.from_numpy(speech[: shortest + HOP * i].copy()), right)
                common = min(len(offline), len(streamed))
                errors = (offline[:common] - streamed[:common]).abs().amax(1) / offline.abs().max()
                chunk = (len(offline) - 1) // (right + 1) * (right + 1)
                before = max(before, float(errors[:chunk].max()))
                last = max(last, float(errors[chunk:].max())) if common > chunk else last
                fewer += len(streamed) < len(offline)
            print(f"| {name} | {80 * right} | {before:.1e} | {last:.1e} | {fewer} of {LENGTHS} |", flush=True)


if __name__ == "__main__":
    main()
