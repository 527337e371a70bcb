#!/usr/bin/env bash
# Google's Speech Commands, version 0.02: 105,829 clips of a second, 35 words, tested on its own list. Not measured yet.
#   ./run.sh [--recipe lmu_classify]   train and measure; the figures go to RESULTS.md
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=speech_commands
title="Speech Commands, version 0.02, 35 words"
recipe=lmu_classify
splits=official
options=(
  features.sample_rate=16000 tokenizer.kind=word data.batch_seconds=120
  augment.level=true augment.gain_db=[-18,6] augment.speed=[0.9,1.1] augment.noise_snr_db=[5,40]
)
demo_options=(trainer.max_steps=300)
notes=(
  "A clip has one of 35 words, so the word error rate is the share of clips that are named wrongly: accuracy is 100 less it."
)

prepare() {
  local found && found=$(audiorec data find speech_commands --cache "$root/.cache")
  echo "speech_commands from $found"
  python local/prepare.py "$found" "$1/official"
}

demo() { audiorec transcribe "$exp/$recipe" $(head -n 5 "$data/official/test/wav.scp" | cut -d ' ' -f 2); }

source ../../recipes/pipeline.sh
