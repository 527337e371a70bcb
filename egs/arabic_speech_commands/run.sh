#!/usr/bin/env bash
# Arabic Speech Commands: 12,000 clips of a second, 40 keywords, 30 speakers; tested on six who are not trained on.
#   ./run.sh [--recipe lmu_classify]   train and measure; the figures go to RESULTS.md
#   ./run.sh --demo                    one epoch
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=arabic_speech_commands
title="Arabic Speech Commands"
recipe=lmu_classify
splits=official
options=(
  features.sample_rate=16000 tokenizer.kind=word data.batch_seconds=60
  augment.level=true augment.gain_db=[-18,6] augment.speed=[0.85,1.15] augment.noise_snr_db=[5,40] augment.filter_db=6
)
demo_options=(trainer.max_epochs=1)
notes=(
  "A clip has one of 40 words, so the word error rate is the share of clips that are named wrongly: accuracy is 100 less it."
  "The split is the corpus's own: 18 speakers to train on, 6 for dev, 6 for test."
)

prepare() {
  local found && found=$(audiorec data find arabic_speech_commands --cache "$root/.cache")
  echo "arabic_speech_commands from $found"
  python local/prepare.py "$found" "$1/official"
}

demo() { audiorec transcribe "$exp/$recipe" $(head -n 5 "$data/official/test/wav.scp" | cut -d ' ' -f 2); }

source ../../recipes/pipeline.sh
