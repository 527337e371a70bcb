#!/usr/bin/env bash
# yesno: sixty recordings of eight words each, yes or no in Hebrew, one speaker, 8 kHz. Trains and measures in minutes.
#   ./run.sh          train and measure; the figures go to RESULTS.md
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=yesno
title="yesno"
recipe=lstm_ctc
splits="icefall"
# Two and a half minutes of speech: few epochs see it often, since a batch is four recordings.
options=(
  features.sample_rate=8000 features.bins=40 tokenizer.kind=word
  encoder.dim=64 encoder.layers=2 encoder.planes=8 encoder.dropout=0.1
  data.batch_seconds=25 augment.speed=[0.9,1.1] augment.gain_db=[-6,6]
  optimizer.lr=4e-3 optimizer.warmup_steps=30 trainer.max_epochs=40
)
demo_options=()
notes=(
  "Every second of the sorted recordings is the test, as in icefall: 30 of them, 240 words, of the one speaker who is trained on."
)

prepare() {
  local found && found=$(audiorec data find yesno --cache "$root/.cache")
  echo "yesno from $found"
  python local/prepare.py "$found" "$1/icefall"
}

demo() { audiorec mic "$exp/$recipe" --file "$(sed -n '3s/^[^ ]* //p' "$data/icefall/test/wav.scp")"; }

source ../../recipes/pipeline.sh
