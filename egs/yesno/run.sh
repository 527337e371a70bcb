#!/usr/bin/env bash
# yesno: sixty recordings of eight words each, yes or no in Hebrew, one speaker, 8 kHz.
#   ./run.sh          train and measure; the figures go to RESULTS.md
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=yesno
title="yesno"
recipe=lmu_ctc
splits="icefall"
# Two and a half minutes of speech: a batch is one recording, so that an epoch has many steps, and the memory ends within a
# word, since twenty-five strings of words are soon known by heart.
options=(
  features.sample_rate=8000 features.bins=40 tokenizer.kind=word
  encoder.dim=64 encoder.layers=2 encoder.planes=8 encoder.strides=[2,2,2] encoder.dropout=0.1
  data.batch_seconds=8 augment.speed=[0.9,1.1] augment.gain_db=[-6,6] augment.filter_db=3 spec_augment.frequency_width=6
  optimizer.lr=5e-3 optimizer.warmup_steps=50 trainer.max_epochs=50 trainer.precision=fp32
)
options_of() { case $1 in lmu_*) echo encoder.theta=[0.3] encoder.channels=16 ;; esac; }
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
