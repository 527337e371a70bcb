"""What a live stream of a 114 M FastConformer costs: NeMo's step, transformers' step, ours in torch and onnxruntime.

    python tools/bench/nemo_cost.py make FOLDER                       # FOLDER/large.nemo; needs nemo_toolkit[asr]
    python tools/bench/nemo_cost.py export FOLDER                     # imports it, and exports a step at each latency
    python tools/bench/nemo_cost.py run FOLDER --peers PYTHON         # the table; PYTHON has nemo_toolkit[asr] and transformers

The model has the shape of NVIDIA's ``stt_en_fastconformer_hybrid_large_streaming_multi`` and random weights, the same for all.
Each system is a process of its own with one thread, and they take turns. NeMo and transformers step over the mel frames of
the whole recording to encoder frames; audiorec goes from samples to CTC's scores. `run` prints seconds of CPU time a second of
speech, the least of the rounds, which other work on the machine changes little; the bytes that a stream keeps; how much a loaded
model and its first stream add to the process's own memory; and how many streams a core serves, of 16 together.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
LOOKAHEADS = {80: 1, 480: 6, 1040: 13}  # ms → frames
DIM, LAYERS, HEADS, CHANNELS, PIECES, SESSIONS = 512, 17, 8, 256, 1024, 16
Stream = Callable[
    [np.ndarray, int], tuple[float, int]
]  # samples, look-ahead in ms → seconds of CPU time, bytes of state


def speech(seconds: float) -> np.ndarray:
    samples = np.load(ROOT / "tests" / "golden" / "nemo" / "speech.npz")["samples"].astype(np.float32) / 32768
    return np.tile(samples, -(-int(seconds * 16000) // len(samples)))[: int(seconds * 16000)]


def make(folder: Path) -> None:
    """Write large.nemo."""
    sys.path[0] = str(ROOT / "tools" / "golden")
    import fastconformer as golden
    from nemo.collections.asr.models import EncDecHybridRNNTCTCBPEModel
    from omegaconf import OmegaConf

    out = folder.resolve()
    random = np.random.default_rng(0)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    words = ["".join(random.choice(syllables, random.integers(1, 5))) for _ in range(6000)]
    golden.WORDS, golden.PIECES = " ".join(words), {"bpe": PIECES}
    os.chdir(out)
    sizes = {"n_layers": LAYERS, "d_model": DIM, "n_heads": HEADS, "ff_expansion_factor": 4}
    config = golden.common(Path(), "bpe", 80, golden.CONTEXTS, **sizes, subsampling_conv_channels=CHANNELS)
    parts = golden.transducer(1)
    parts["model_defaults"] = {"enc_hidden": DIM, "pred_hidden": 640, "joint_hidden": 640}
    parts["decoder"]["prednet"]["pred_hidden"] = parts["joint"]["jointnet"]["joint_hidden"] = 640
    ctc = {**golden.ctc_decoder(), "feat_in": DIM}
    config |= parts | {"aux_ctc": {"ctc_loss_weight": 0.3, "decoder": ctc}}
    torch.manual_seed(0)
    model = EncDecHybridRNNTCTCBPEModel(cfg=OmegaConf.create(config))
    model.save_to(str(out / "large.nemo"))
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")


def export(folder: Path) -> None:
    """Import large.nemo, and write the graph of a step of one period at each latency, with float32 and 8-bit weights."""
    from audiorec.export.examples import stream_parts
    from audiorec.export.int8 import quantise
    from audiorec.export.trace import trace
    from audiorec.export.weights import save_graphs
    from audiorec.importing import import_model
    from audiorec.models import load_model

    if not (folder / "model").exists():
        import_model(folder / "large.nemo", folder / "model")
    for ms in LOOKAHEADS:
        if (folder / f"state-{ms}.npz").exists():  # of a run before
            continue
        model = load_model(folder / "model")[0].exit("ctc").at_latency(ms).eval()
        part, arguments, axes = stream_parts(model, model.head("ctc")).step(1)
        graph = trace(part, arguments, axes)
        save_graphs(folder, {f"onnx-{ms}": graph})
        quantise(graph)
        save_graphs(folder, {f"int8-{ms}": graph})
        np.savez(folder / f"state-{ms}.npz", *(state[:1].numpy() for state in arguments[1:]))


def tensors(tree: Any) -> Iterator[torch.Tensor]:
    """All tensors of what a system keeps between steps."""
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from tensors(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from tensors(value)
    elif hasattr(tree, "__dict__"):
        yield from tensors(vars(tree))


def size(*trees: Any) -> int:
    """Bytes of all tensors in ``trees``, each memory counted once."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for tree in trees for t in tensors(tree)}
    return sum(storages.values())


def by_nemo(folder: Path) -> Stream:
    import logging

    from nemo.collections.asr.models import EncDecHybridRNNTCTCBPEModel
    from nemo.collections.asr.parts.utils.streaming_utils import CacheAwareStreamingAudioBuffer

    logging.disable(logging.WARNING)
    model = EncDecHybridRNNTCTCBPEModel.restore_from(str(folder / "large.nemo"), map_location="cpu").eval()
    model.preprocessor.featurizer.dither = 0.0
    encoder = model.encoder

    def stream(samples: np.ndarray, ms: int) -> tuple[float, int]:
        mel, _ = model.preprocessor(input_signal=torch.from_numpy(samples)[None], length=torch.tensor([len(samples)]))
        encoder.setup_streaming_params(att_context_size=[70, LOOKAHEADS[ms]])
        buffer = CacheAwareStreamingAudioBuffer(model=model, online_normalization=False, pad_and_drop_preencoded=False)
        buffer.append_processed_signal(mel, stream_id=-1)
        channel, time_, length = encoder.get_initial_cache_state(batch_size=1, dtype=torch.float32)
        seconds = 0.0
        for i, (chunk, _) in enumerate(iter(buffer)):
            start = time.process_time()
            _, _, channel, time_, length = encoder.cache_aware_stream_step(
                processed_signal=chunk,
                processed_signal_length=torch.tensor([chunk.shape[2]]),
                cache_last_channel=channel,
                cache_last_time=time_,
                cache_last_channel_len=length,
                keep_all_outputs=buffer.is_buffer_empty(),
                drop_extra_pre_encoded=0 if i == 0 else encoder.streaming_cfg.drop_extra_pre_encoded,
            )
            seconds += time.process_time() - start
        return seconds, size(channel, time_, length)

    return stream


def by_transformers(folder: Path) -> Stream:
    sys.path[0] = str(ROOT / "tools" / "golden")
    from nemotron import weights_of
    from transformers import (
        NemotronAsrStreamingConfig,
        NemotronAsrStreamingFeatureExtractor,
        NemotronAsrStreamingForRNNT,
    )

    sizes = {"hidden_size": DIM, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    encoder_config = {
        "model_type": "nemotron_asr_streaming_encoder",
        **sizes,
        **{"intermediate_size": 4 * DIM, "subsampling_conv_channels": CHANNELS, "conv_kernel_size": 9},
        **{"num_mel_bins": 80, "scale_input": False},
    }
    vocabulary = {"vocab_size": PIECES + 1, "blank_token_id": PIECES, "decoder_hidden_size": 640}
    config = NemotronAsrStreamingConfig(**vocabulary, num_decoder_layers=1, encoder_config=encoder_config)
    config._attn_implementation = "sdpa"
    model = NemotronAsrStreamingForRNNT(config).eval()
    model.load_state_dict(weights_of(folder / "large.nemo"))
    encoder, extract = model.encoder, NemotronAsrStreamingFeatureExtractor()

    def stream(samples: np.ndarray, ms: int) -> tuple[float, int]:
        right = LOOKAHEADS[ms]
        mel = extract(samples, sampling_rate=16000, return_tensors="pt")["input_features"]
        seconds, cache, padding, at = 0.0, None, None, 0
        while at + (length := 1 + 8 * right if at == 0 else 8 * (right + 1)) <= mel.shape[1]:
            chunk = mel[:, at : at + length]
            start = time.process_time()
            step = encoder(chunk, use_cache=True, cache=cache, padding_cache=padding, num_lookahead_tokens=right)
            seconds += time.process_time() - start
            cache, padding = step.cache, step.padding_cache
            at += length
        return seconds, size(cache, padding)

    return stream


def by_torch(folder: Path) -> Stream:
    import audiorec

    recognizer = audiorec.load(folder / "model", head="ctc", endpoint=None)

    def stream(samples: np.ndarray, ms: int, rows: int = 1) -> tuple[float, int]:
        model, head, at = recognizer.at_latency(ms).model, recognizer.model.head("ctc"), 0
        x, state = torch.from_numpy(samples)[None, :, None].repeat(rows, 1, 1), None
        start = time.process_time()
        while at + (feed := model.period if at else model.first_feed) <= x.shape[1]:
            y, _, state = model.step(x[:, at : at + feed], None, state)
            head(y)
            at += feed
        return time.process_time() - start, size(state)

    return stream


def by_onnx(folder: Path, kind: str = "onnx") -> Stream:
    from audiorec.export.check import open_session

    sessions: dict[int, Any] = {}

    def stream(samples: np.ndarray, ms: int, rows: int = 1) -> tuple[float, int]:
        if ms not in sessions:
            sessions[ms] = open_session(folder / f"{kind}-{ms}.onnx")
        state = [np.repeat(array, rows, 0) for array in np.load(folder / f"state-{ms}.npz").values()]
        names = [x.name for x in sessions[ms].get_inputs()]
        x, period = np.repeat(samples[None], rows, 0), 16 * 80 * (LOOKAHEADS[ms] + 1)
        start = time.process_time()
        for at in range(0, x.shape[1] - period + 1, period):
            _, *state = sessions[ms].run(None, dict(zip(names, [x[:, at : at + period], *state], strict=True)))
        return time.process_time() - start, sum(array.nbytes for array in state)

    return stream


def by_engine(folder: Path) -> Stream:
    import audiorec

    whole = audiorec.load(folder / "model", head="ctc", endpoint=None)

    def stream(samples: np.ndarray, ms: int, rows: int = SESSIONS) -> tuple[float, int]:
        with audiorec.Engine(whole.at_latency(ms), slots=rows, queue_seconds=2 * len(samples) / 16000) as engine:
            sessions = [engine.session() for _ in range(rows)]
            start, piece = time.process_time(), 16 * 80 * (LOOKAHEADS[ms] + 1)
            for at in range(0, len(samples), piece):
                for session in sessions:
                    session.accept(samples[at : at + piece])
            for session in sessions:
                session.finish()
            return time.process_time() - start, 0

    return stream


WAYS: dict[str, Callable[[Path], Stream]] = {
    "nemo": by_nemo,
    "transformers": by_transformers,
    "torch": by_torch,
    "onnx": by_onnx,
    "int8": lambda folder: by_onnx(folder, "int8"),
    "engine": by_engine,
}
MANY = "torch", "onnx", "int8", "engine"  # that compute many streams together
NAMES = {
    "nemo": "NeMo's step",
    "transformers": "transformers' step",
    "torch": "audiorec, torch",
    "onnx": "audiorec, onnxruntime",
    "int8": "audiorec, onnxruntime, int8",
    "engine": "audiorec's engine, torch",
}


def own_megabytes() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("RssAnon"))


@torch.no_grad()
def work(folder: Path, by: str) -> None:
    """Answers each line ``ms seconds [rows]`` with what so many streams took together, what each keeps, and the memory of all."""
    torch.set_num_threads(1)
    answers, sys.stdout, before = sys.stdout, sys.stderr, own_megabytes()
    stream: Any = WAYS[by](folder)
    for line in sys.stdin:
        ms, seconds, *rows = line.split()
        took, kept = stream(speech(float(seconds)), int(ms), *map(int, rows))
        found = {"seconds": took, "kept": kept, "megabytes": own_megabytes() - before}
        print(json.dumps(found), file=answers, flush=True)


def asked(process: subprocess.Popen, *words: object) -> dict[str, float]:
    process.stdin.write(" ".join(map(str, words)) + "\n")
    process.stdin.flush()
    if not (line := process.stdout.readline()):
        sys.exit(f"{process.args}: ended")
    print(
        *words, line.strip(), f"({process.args[-1]})", file=sys.stderr, flush=True
    )  # a run that is cut off tells something
    return json.loads(line)


def run(folder: Path, peers: str, rounds: int, seconds: float, only: list[str], together: bool) -> None:
    def worker(by: str) -> subprocess.Popen:
        python = peers if by in ("nemo", "transformers") else sys.executable
        command = [python, __file__, "work", str(folder), "--by", by]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, **pipes)

    workers = {by: worker(by) for by in only}
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    memory = {by: asked(process, 480, 3)["megabytes"] for by, process in workers.items()}  # loads, and warms up
    for _ in range(rounds):
        for ms in LOOKAHEADS:
            for by in only:
                if by != "engine":
                    found.setdefault((by, ms), []).append(asked(workers[by], ms, seconds))
    print("| steps | " + " | ".join(f"{ms} ms" for ms in LOOKAHEADS) + " | state, kB | memory, MB |")
    print("|---|" + "---:|" * (len(LOOKAHEADS) + 2))
    for by in dict.fromkeys(by for by, _ in found):
        factors = [min(one["seconds"] for one in found[by, ms]) / seconds for ms in LOOKAHEADS]
        kept = max(found[by, ms][0]["kept"] for ms in LOOKAHEADS) / 1000
        cells = [*(f"{factor:.4f}" for factor in factors), f"{kept:.0f}", f"{memory[by]:.0f}"]
        print(f"| {NAMES[by]} | {' | '.join(cells)} |", flush=True)
    if together:
        print(
            f"\n| {SESSIONS} streams together: streams a core | " + " | ".join(f"{ms} ms" for ms in LOOKAHEADS) + " |"
        )
        print("|---|" + "---:|" * len(LOOKAHEADS))
    for by in [by for by in only if by in MANY and together]:
        took = [asked(workers[by], ms, seconds, SESSIONS)["seconds"] for ms in LOOKAHEADS]
        print(f"| {NAMES[by]} | {' | '.join(f'{SESSIONS * seconds / one:.0f}' for one in took)} |", flush=True)
    for process in workers.values():
        process.stdin.close()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "export", "run", "work"])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--peers", default=sys.executable, help="the Python of the environment with NeMo and transformers"
    )
    parser.add_argument("--by", choices=list(WAYS), nargs="+", default=list(WAYS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--together", action="store_true", help="measure 16 streams together, too")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    if options.what in ("make", "export"):
        (make if options.what == "make" else export)(options.folder)
    elif options.what == "work":
        work(options.folder, options.by[0])
    else:
        run(options.folder, options.peers, options.rounds, options.seconds, options.by, options.together)


if __name__ == "__main__":
    main()
