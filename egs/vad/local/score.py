"""RESULTS.md: local/score.py RUN TEST COMMAND COMMIT."""

import json
import sys
from pathlib import Path

import numpy as np
import torch

import audiorec
from audiorec.data.kaldi import Recordings, read_data_dir
from audiorec.errors import UserError
from audiorec.evaluation.ctm import read_ctm
from audiorec.evaluation.frames import covered, frame_errors, on_grid, roc
from audiorec.files import write_text


def main(run: Path, test: Path, command: str, commit: str) -> None:
    recognizer = audiorec.load(run)
    decoded = {path.parent.name: read_ctm(path) for path in sorted(run.glob("decode/*/words.ctm"))}
    settings = json.loads((run / "decode/offline/decode.json").read_text())
    scores, true, said, kinds = [], [], {name: [] for name in decoded}, []
    recordings = Recordings()
    for utterance in read_data_dir(test, require_text=False):
        samples = recordings.samples(utterance, recognizer.sample_rate)
        seconds = len(samples) / recognizer.sample_rate
        true.append(covered(utterance.labels, seconds))
        scores.append(on_grid(speech(recognizer, samples), recognizer.frame_seconds, seconds))
        kinds += [utterance.id.split("-")[0]] * len(true[-1])
        for name, utterances in decoded.items():
            said[name].append(covered([word[1:] for word in utterances.get(utterance.id, ())], seconds))
    kind, truth, score = np.array(kinds), np.concatenate(true), np.concatenate(scores)
    found = {name: np.concatenate(rows) for name, rows in said.items()}
    lines = [
        "# Voice activity: mini LibriSpeech in noise",
        "",
        f"`{command}` at {commit}: {settings['parameters']} parameters, a frame every {1000 * recognizer.frame_seconds:g} ms, "
        f"latency {recognizer.latency_ms:g} ms, state {settings['state_bytes']} bytes. {len(truth) / 6000:.1f} minutes, "
        f"{100 * truth.mean():.1f} % of them speech. Frames of 10 ms; labels by the energy of the clean speech.",
        "",
        "| test | frame error, % | miss, % | false alarm, % | ROC area | miss at 1 % false alarms, % | at 5 %, % |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ["all", "clean", "20dB", "10dB", "5dB", "0dB", "noise"]:
        rows = (kind == name) | (name == "all")
        if rows.any():
            lines.append(row(name, found["offline"][rows], score[rows], truth[rows]))
    lines += ["", "| streamed in pieces of | frames that differ from offline |", "|---|---|"]
    for name, frames in found.items():
        if name != "offline":
            lines.append(f"| {name.removeprefix('streamed-')} ms | {int((frames != found['offline']).sum())} |")
    write_text(Path("RESULTS.md"), "\n".join(lines) + "\n")
    print("\n".join(lines))


def row(name: str, found: np.ndarray, score: np.ndarray, truth: np.ndarray) -> str:
    shares = [f"{100 * x:.2f}" for x in frame_errors(found, truth)]
    if truth.all() or not truth.any():
        return f"| {name} | {' | '.join(shares)} | | | |"
    curve = roc(score, truth)
    return (
        f"| {name} | {' | '.join(shares)} | {curve.area:.4f} | "
        + " | ".join(f"{100 * curve.miss_at(x):.2f}" for x in (0.01, 0.05))
        + " |"
    )


@torch.inference_mode()
def speech(recognizer: audiorec.Recognizer, samples: np.ndarray) -> np.ndarray:
    """The probability of any label at each frame."""
    model = recognizer.model
    frames, _ = model(torch.from_numpy(samples)[None])
    return 1 - model.head()(frames)[0, :, 0].exp().numpy()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
    except UserError as error:
        sys.exit(f"error: {error}")
