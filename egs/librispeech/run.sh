#!/usr/bin/env bash
# LibriSpeech: read English at 16 kHz, 100 hours of it or 960; tested on test-clean. Made for a GPU; not measured yet.
#   ./run.sh                  trains on train-clean-100
#   ./run.sh --splits 960     on all 960 hours, which must lie in $AUDIOREC_DATA/librispeech/LibriSpeech
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=librispeech
title="LibriSpeech"
recipe=conformer_rnnt
splits="100 960"
options=(
  features.sample_rate=16000 features.bins=80 tokenizer.kind=bpe tokenizer.size=500
  encoder.dim=256 encoder.layers=12
  data.batch_seconds=600 data.max_seconds=20 augment.speed=[0.9,1.1] optimizer.warmup_steps=2000
  spec_augment.time_masks=2 spec_augment.time_width=40 spec_augment.time_share=0.2
  spec_augment.frequency_masks=2 spec_augment.frequency_width=20
)
demo_options=(trainer.max_steps=300)
notes=(
  "The split says how many hours are trained on; the test is test-clean. test-other: audiorec decode RUN --data data/100/test_other."
)

prepare() {
  local found && found=$(audiorec data find librispeech --cache "$root/.cache")
  echo "librispeech from $found"
  python local/prepare.py "$found" "$1" $wanted_splits
}

demo() { audiorec mic "$exp/$recipe" --speed 0 --file "$(sed -n '3s/^[^ ]* //p' "$data/100/test/wav.scp")"; }

source ../../recipes/pipeline.sh
