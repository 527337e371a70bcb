#!/usr/bin/env bash
# Mini LibriSpeech: 5 hours of read English at 16 kHz, 28 speakers; tested on speakers who are not trained on.
#   ./run.sh --tokens phone [--recipe lstm_ctc]   train on phones, search words; the figures go to RESULTS.md
#   ./run.sh --tokens char                        letters, which need no lexicon
#   ./run.sh --recipe conformer_rnnt              500 pieces of words
#   ./run.sh --demo [--recipe mamba_rnnt]         300 steps and a few utterances: loss curve, step time, peak memory
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=mini_librispeech
title="Mini LibriSpeech"
splits=unseen
besides=dev
recipe=min_gru_ctc
# Time masks count frames of 10 ms, frequency masks bins: LibriSpeech's are longer and wider than a string of digits allows.
options=(
  features.sample_rate=16000 features.bins=80
  data.batch_seconds=100 data.buckets=15 data.max_seconds=20 data.cache_gb=2 augment.speed=[0.9,1.1]
  spec_augment.time_masks=2 spec_augment.time_width=40 spec_augment.time_share=0.2
  spec_augment.frequency_masks=2 spec_augment.frequency_width=20
)
# With --tokens: the rows of one table, about 7.7 M parameters and 12 epochs (64 hours heard) each.
options_of() {
  case $tokens in
    '') echo tokenizer.kind=bpe tokenizer.size=500 && return ;;
    phone) echo "tokenizer.lexicon=$($demo && echo exp/demo/)data/unseen/lexicon.txt" tokenizer.unsaid=guess ;;
  esac
  echo trainer.max_epochs=12 encoder.dropout=0.1 augment.filter_db=6 augment.envelope_db=0 optimizer.warmup_steps=200
  case $1 in
    min_gru_ctc) echo encoder.dim=384 encoder.conv_kernel=7 optimizer.lr=2e-3 ;;
    lstm_ctc) echo encoder.dim=480 ;;
    blstm_ctc) echo encoder.dim=560 ;;
    mamba_ctc) echo encoder.dim=400 encoder.layers=7 ;;
    lmu_ctc) echo encoder.dim=640 ;;
    conformer_ctc) echo encoder.dim=256 encoder.layers=5 ;;
  esac
}
demo_options=(trainer.max_steps=300)
notes=(
  "Trained on train-clean-5 (OpenSLR 31, 5.3 hours)."
  "Where test has 236 utterances it is \"4088+8226\": these two speakers of train-clean-100. The corpus fetched from OpenSLR has every second speaker of dev-clean-2 instead. Neither compares with figures published on the whole of dev-clean-2."
  "A model of phones says phones until a search with the lexicon makes words of them: without it all its words are wrong."
  "Rows of onnx int8 stream the exported model; their words are compared with torch's offline, so what differs is due to 8 bits."
)

# The words that phones and letters are searched for; the weights are dev's.
searches_of() {
  local lm=$data/$1/lm/words words="--search beam --beam 128 --lexicon $data/$1/lexicon.txt"
  case $tokens in phone | char) ;; *) return ;; esac
  [ -f "$lm.3.arpa" ] || return
  if [ "$tokens" = char ]; then words="--search beam --beam 128 --lexicon $data/$1/words.txt"; fi
  # Without any language model words of the same sounds have the same score, and which of them is said is chance.
  echo "lexicon+1-gram $words --word-lm $lm.1.arpa --word-lm-weight 1.1 --word-bonus -1 --prior-weight 1.15"
  echo "lexicon+3-gram $words --word-lm $lm.3.arpa --word-lm-weight 1.15 --prior-weight 1.15"
}

prepare() {
  local found texts lexicon='' books='' cache=$root/.cache && found=$(audiorec data find mini_librispeech --cache "$cache")
  echo "mini_librispeech from $found"
  python local/prepare.py "$found" "$1/unseen" $($demo && echo 12)
  # Letters and pieces need neither; what is not there is named.
  lexicon=$(audiorec data find lexicon --cache "$cache") || true
  books=$(audiorec data find books --cache "$cache") || true
  python local/words.py "$1/unseen" "$lexicon" "$books"
  if [ -n "$lexicon" ] && [ -n "$books" ] && ! $demo; then
    texts=("$1/unseen/lm/books.txt" "$1/unseen/lm/transcripts.txt" --weights 0.75,0.25 --vocabulary "$1/unseen/lexicon.txt")
    audiorec lm "${texts[@]}" --order 1 --out "$1/unseen/lm/words.1.arpa"
    audiorec lm "${texts[@]}" --prune 0,0,1 --out "$1/unseen/lm/words.3.arpa"
  fi
}

demo() {
  local run && run=$(run_of unseen)
  echo
  cat "$run/training.json"
  echo "Loss and word error rate: egs/mini_librispeech/$run/curves.png"
  echo "One utterance of the test set, streamed as if live in pieces of 100 ms:"
  audiorec mic "$run" --speed 0 --file "$(sed -n '3s/^[^ ]* //p' "$data/unseen/test/wav.scp")"
}

source ../../recipes/pipeline.sh
