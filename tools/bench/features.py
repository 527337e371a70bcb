"""How far log-mel features are from kaldi-native-fbank's on real speech: python tools/bench/features.py FILE..."""

import sys
from pathlib import Path

import kaldi_native_fbank
import numpy as np
import torch

from audiorec.audio.logmel import LogMel, LogMelConfig
from audiorec.audio.read import read

SETTINGS = [(8000, 40), (8000, 64), (8000, 80), (16000, 80)]
EDGE = 2  # frames at either end, where Kaldi reflects samples and audiorec has zeros


def kaldi(samples: np.ndarray, rate: int, bins: int) -> np.ndarray:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq, options.frame_opts.dither, options.frame_opts.snip_edges = rate, 0, False
    options.mel_opts.num_bins, options.mel_opts.high_freq = bins, -400
    computer = kaldi_native_fbank.OnlineFbank(options)
    computer.accept_waveform(rate, samples.tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])


def main(paths: list[Path]) -> None:
    print("| rate, Hz | bins | frames | largest difference | 99.9th percentile |\n|---|---|---|---|---|")
    for rate, bins in SETTINGS:
        module, errors = LogMel(LogMelConfig(sample_rate=rate, bins=bins)), []
        for path in paths:
            samples, _ = read(path, rate)
            ours = module(torch.from_numpy(samples)[None, :, None], torch.tensor([len(samples)]))[0][0].numpy()
            theirs = kaldi(samples, rate, bins)
            frames = min(len(ours), len(theirs)) - EDGE
            errors.append(np.abs(ours[EDGE:frames] - theirs[EDGE:frames]))
        all_errors = np.concatenate(errors)
        percentile = np.quantile(all_errors, 0.999)
        print(f"| {rate} | {bins} | {len(all_errors)} | {all_errors.max():.1e} | {percentile:.1e} |", flush=True)


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
