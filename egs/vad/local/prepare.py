"""Data directories for voice activity: local/prepare.py SPEECH NOISE OUT [FEW].

SPEECH has data directories train, dev, test of clean speech. Training hears its utterances, which the recipe joins, with gaps,
and mixes with noise; and recordings of noise alone. Dev and test are mixed here, once: an utterance between silences, in noise
that training does not hear, at one of SNRS. `labels` are the stretches of speech by the energy of the clean utterance.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from audiorec.audio.read import header, read, write
from audiorec.data.draws import generator
from audiorec.data.kaldi import Recordings, Utterance, read_data_dir, write_data_dir
from audiorec.data.utterance import Stretch
from audiorec.errors import UserError

RATE = 16000
HOP = RATE // 100
SNRS = (None, 20.0, 10.0, 5.0, 0.0)  # dB of the speech, where it is active, above the noise; None: no noise
BELOW, PAUSE, BURST = 30.0, 0.2, 0.05  # dB below the loud frames; seconds
NOISES = {  # of each part; training's are the recipe's too
    "train": ["esc10/*/[123]-*", "gsc_background/*.opus", "music_opsound/m*"],
    "dev": ["esc10/*/4-*"],
    "test": ["esc10/*/5-*", "music_opsound/reno*"],
}
COUNTS = {"train": 95, "dev": 50, "test": 120}  # utterances; every sixth recording of dev and test is noise alone


def main(speech: Path, noise: Path, out: Path, few: int | None = None) -> None:
    recordings = Recordings()
    for part in COUNTS:
        folder = speech / part
        utterances = read_data_dir(folder)
        count = min(few or COUNTS[part], len(utterances))
        chosen = [utterances[i * len(utterances) // count] for i in range(count)]
        chosen = [replace(u, text="", labels=speech_of(recordings.samples(u, RATE))) for u in chosen]
        files = sorted({path for pattern in NOISES[part] for path in noise.glob(pattern)})
        if part == "train":
            write_data_dir(out / part, chosen + noise_alone(files[::2]))
        else:
            write_data_dir(out / part, list(mixed(out / part / "audio", chosen, files, recordings)))


def speech_of(samples: np.ndarray) -> tuple[Stretch, ...]:
    """Where a clean utterance is within BELOW of its loud frames; pauses shorter than PAUSE and bursts than BURST are none."""
    frames = np.square(samples[: len(samples) // HOP * HOP].astype(np.float64)).reshape(-1, HOP).mean(1)
    padded = np.pad(frames, 1, mode="edge")
    level = 10 * np.log10(sliding_window_view(padded, 3).mean(1) + 1e-10)  # of 30 ms
    runs = runs_of(level > np.percentile(level, 95) - BELOW)
    joined: list[list[int]] = []
    for start, end in runs:
        if joined and (start - joined[-1][1]) * HOP < PAUSE * RATE:
            joined[-1][1] = end
        else:
            joined.append([start, end])
    return tuple(Stretch(a * HOP / RATE, b * HOP / RATE, "speech") for a, b in joined if (b - a) * HOP >= BURST * RATE)


def runs_of(active: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of each run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def noise_alone(files: list[Path]) -> list[Utterance]:
    """Recordings of noise, ten seconds at most of each of their parts."""
    found = []
    for path in files:
        examined = header(path)
        seconds = min((examined.frames or 0) / examined.sample_rate, 60.0)
        for i, start in enumerate(np.arange(0, seconds - 1, 10.0).tolist()):
            name = f"noise-{path.parent.name}-{path.stem}"
            end = min(start + 10, seconds)
            found.append(Utterance(f"{name}-{i}", name, path, start, end, "", "noise"))
    return found


def mixed(folder: Path, utterances: list[Utterance], files: list[Path], recordings: Recordings):
    folder.mkdir(parents=True, exist_ok=True)
    for i, utterance in enumerate(utterances):
        random = generator(1, 0, utterance.id)
        before, after = (int(random.uniform(1, 4) * RATE) for _ in range(2))
        speech = recordings.samples(utterance, RATE)
        alone = i % 6 == 5
        snr = SNRS[1 + i % 4] if alone else SNRS[i % len(SNRS)]
        rows = np.concatenate([np.zeros(before), speech, np.zeros(after)]).astype(np.float32)
        if snr is not None:
            active = np.concatenate([speech[int(a * RATE) : int(b * RATE)] for a, b, _ in utterance.labels])
            noise = noise_of(files, len(rows), random)
            gain = rms(active) / max(rms(noise), 1e-6) * 10 ** (-snr / 20)
            rows = (0 if alone else rows) + noise * np.float32(gain)
        else:
            rows = rows + random.standard_normal(len(rows), dtype=np.float32) * np.float32(1e-4)
        rows *= np.float32(min(1, 0.99 / np.abs(rows).max()))
        kind = "noise" if alone else "clean" if snr is None else f"{snr:g}dB"
        name = f"{kind}-{utterance.id}"
        path = folder / f"{name}.flac"
        write(path, rows, RATE)
        shift = before / RATE
        labels = () if alone else tuple(Stretch(a + shift, b + shift, label) for a, b, label in utterance.labels)
        yield Utterance(name, name, path, 0.0, None, "", utterance.speaker, labels=labels)


def noise_of(files: list[Path], size: int, random: np.random.Generator) -> np.ndarray:
    """Recordings one after another, each at one level, from a drawn place in the first."""
    parts, have = [], 0
    while have < size:
        part = read(files[random.integers(len(files))], RATE)[0]
        if not parts:
            part = part[random.integers(len(part) // 2) :]
        part = part / max(rms(part), 1e-6)
        parts.append(part)
        have += len(part)
    return np.concatenate(parts)[:size].astype(np.float32)


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:4]), *map(int, sys.argv[4:]))
    except UserError as error:
        sys.exit(f"error: {error}")
