#!/usr/bin/env bash
# AN4 (CMU 1991): addresses, names and numbers, spelled and spoken, at 16 kHz; under an hour of speech. Not measured yet.
#   ./run.sh          train and measure; the figures go to RESULTS.md
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=an4
title="AN4"
recipe=lstm_ctc
splits=official
options=(
  features.sample_rate=16000 tokenizer.kind=word
  data.batch_seconds=40 augment.speed=[0.9,1.1] augment.gain_db=[-12,6]
)
demo_options=(trainer.max_epochs=3)
notes=("The test is the corpus's own: 130 utterances.")

prepare() {
  local found && found=$(audiorec data find an4 --cache "$root/.cache")
  echo "an4 from $found"
  python local/prepare.py "$found" "$1/official"
}

demo() { audiorec mic "$exp/$recipe" --speed 0 --file "$(sed -n '3s/^[^ ]* //p' "$data/official/test/wav.scp")"; }

source ../../recipes/pipeline.sh
