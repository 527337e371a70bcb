#!/usr/bin/env bash
# Mini LibriSpeech: 5 hours of read English at 16 kHz, 28 speakers; tested on speakers who are not trained on.
#   ./run.sh [--recipe mamba_rnnt]          train and measure; the figures go to RESULTS.md
#   ./run.sh --demo [--recipe mamba_rnnt]   300 steps and a few utterances: loss curve, step time, peak memory
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=mini_librispeech
title="Mini LibriSpeech"
splits=unseen
recipe=conformer_rnnt
# Time masks count frames of 10 ms, frequency masks bins: LibriSpeech's are longer and wider than a string of digits allows.
options=(
  features.sample_rate=16000 features.bins=80 tokenizer.kind=bpe tokenizer.size=500
  data.batch_seconds=100 data.max_seconds=20 augment.speed=[0.9,1.1]
  spec_augment.time_masks=2 spec_augment.time_width=40 spec_augment.time_share=0.2
  spec_augment.frequency_masks=2 spec_augment.frequency_width=20
)
demo_options=(trainer.max_steps=300)
notes=(
  "Trained on train-clean-5 (OpenSLR 31, 5.3 hours)."
  "Where test has 236 utterances it is \"4088+8226\": these two speakers of train-clean-100. The corpus fetched from OpenSLR has every second speaker of dev-clean-2 instead. Neither compares with figures published on the whole of dev-clean-2."
)

prepare() {
  local found && found=$(audiorec data find mini_librispeech --cache "$root/.cache")
  echo "mini_librispeech from $found"
  python local/prepare.py "$found" "$1/unseen" $($demo && echo 12)
}

demo() {
  local run=$exp/$recipe
  echo
  cat "$run/training.json"
  echo "Loss and word error rate: egs/mini_librispeech/$run/curves.png"
  echo "One utterance of the test set, streamed as if live in pieces of 100 ms:"
  audiorec mic "$run" --speed 0 --file "$(sed -n '3s/^[^ ]* //p' "$data/unseen/test/wav.scp")"
}

source ../../recipes/pipeline.sh
