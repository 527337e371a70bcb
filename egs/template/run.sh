#!/usr/bin/env bash
# A corpus of your own: copy this folder, read its README.md.
#   ./run.sh          train and measure; the figures go to RESULTS.md
#   ./run.sh --demo   a small training, which shows that all stages work
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=$(basename "$PWD")
title=$corpus
recipe=lstm_ctc
splits=all
options=(
  features.sample_rate=16000 # of the recordings, or below; others are resampled
  tokenizer.kind=bpe         # sentences; word: a few dozen words
  data.batch_seconds=120 augment.speed=[0.9,1.1]
)
demo_options=(trainer.max_epochs=3 encoder.dim=64 encoder.layers=1 encoder.planes=8)
notes=()

prepare() {
  local found && found=$(audiorec data find "$corpus" --cache "$root/.cache")
  echo "$corpus from $found"
  python local/prepare.py "$found" "$1/all"
}

demo() { audiorec mic "$exp/$recipe" --speed 0 --file "$(sed -n '1s/^[^ ]* //p' "$data/all/test/wav.scp")"; }

source ../../recipes/pipeline.sh
