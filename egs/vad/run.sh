#!/usr/bin/env bash
# Voice activity: speech of mini LibriSpeech in recorded noise, 16 kHz.
#   ./run.sh          train and measure; the figures go to RESULTS.md
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=vad
title="Voice activity"
recipe=min_gru_vad
splits=mix
options=()
demo_options=(trainer.max_epochs=1)

prepare() {
  local speech noise cache=$root/.cache
  speech=$(audiorec data find mini_librispeech --cache "$cache") && noise=$(audiorec data find noise --cache "$cache")
  echo "mini_librispeech from $speech, noise from $noise"
  python ../mini_librispeech/local/prepare.py "$speech" "$1/speech"
  python local/prepare.py "$1/speech" "$noise" "$1/mix" $($demo && echo 12)
}

measure() { python local/score.py "$1" "$2" "$command" "$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)"; }

demo() {
  echo "One recording of the test set, streamed as if live in pieces of 100 ms:"
  audiorec mic "$(run_of mix)" --speed 0 --file "$data/mix/test/$(sed -n '3s/^[^ ]* //p' "$data/mix/test/wav.scp")"
}

source ../../recipes/pipeline.sh
