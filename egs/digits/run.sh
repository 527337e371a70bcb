#!/usr/bin/env bash
# Connected digits: strings of one to seven spoken digits of one of six speakers, at 8 kHz.
#   ./run.sh          train and measure on both splits; the figures go to RESULTS.md
#   ./run.sh --demo   a small training, then a recording streamed to the terminal
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=digits
title="Connected digits"
recipe=lstm_ctc
# official: the test is the clips of index 00-04, of known speakers. unseen: no clip of speaker theo is trained on.
splits="official unseen"
options=(
  features.sample_rate=8000 features.bins=40 tokenizer.kind=word
  data.strings.clips=[1,7] data.batch_seconds=20 data.max_seconds=20
  augment.level=true augment.gain_db=[-18,6] augment.speed=[0.9,1.1]
  augment.noise_snr_db=[10,40] augment.noise_probability=0.3
)
# lstm_rnnt trains faster in larger batches: it has half the frames.
options_of() { case $1 in lstm_rnnt | lstm_rnnt_viterbi) echo data.batch_seconds=40 ;; esac; }
demo_options=(
  trainer.max_epochs=30 encoder.dim=256 encoder.dropout=0.1 spec_augment.frequency_width=8 augment.filter_db=6
)
notes=(
  "Strings of 1 to 7 clips of one speaker at their recorded levels, joined by gaps of faint noise, fixed by seed."
  "official: the dataset's own test clips (index 00-04). unseen: all clips of speaker theo, who is not trained on."
  "Minutes of training depend on what else the machine did; alone on two cores: docs/measurements.md."
)

prepare() {
  local recordings=recordings
  if ! $demo && [ -n "${AUDIOREC_DATA:-}" ]; then
    recordings=$(audiorec data find fsdd --cache "$root/.cache")/recordings
  fi
  echo "digits from $recordings"
  python local/prepare.py "$recordings" "$1"
}

demo() {
  local example && example=$(ls "$data"/official/test/audio/*.flac | sed -n 3p)
  echo
  echo "One recording of the test set, streamed as if live in pieces of 100 ms:"
  audiorec mic "$exp/$recipe" --file "$example"
  cat <<EOF

The model is in egs/digits/$exp/$recipe/model. Next, from the top of the clone:
  source .venv/bin/activate
  audiorec mic egs/digits/$exp/$recipe                    # say some digits; Ctrl-C ends
  audiorec transcribe egs/digits/$exp/$recipe FILE        # a recording of your own
  audiorec info egs/digits/$exp/$recipe
  egs/digits/run.sh                                       # the full training, on both splits
EOF
}

source ../../recipes/pipeline.sh
