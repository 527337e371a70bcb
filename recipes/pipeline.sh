# The stages that all corpora share; egs/<corpus>/run.sh sources this. A corpus sets, before:
#   corpus        its name
#   title         the title of its results
#   recipe        the recipe that is trained where --recipe names none
#   splits        its ways to divide the data, each with a training of its own; the first is the main one
#   options       settings of the recipe that the corpus needs, key=value
#   options_of    a function, if there is one: options_of RECIPE prints the settings that one recipe needs besides; $tokens is
#                 the kind of tokenizer that --tokens names
#   demo_options  settings for --demo
#   searches_of   a function, if there is one: searches_of SPLIT prints decodings beside the plain one, a line each: a name,
#                 then options of `audiorec decode`
#   besides       parts of the data that are decoded beside the test set, offline: dev, where weights are chosen on it
#   measure       a function, if there is one: measure RUN TEST writes RESULTS.md, for a task whose results are no words
#   notes         lines for the end of the results
#   noise_files   a pattern of files in the noise corpus that no training heard, for --robustness; unless set its fifth fold
#   ratios        the decibels of speech to noise for --robustness, if they are others than below; so lengths for --long-form
#   prepare       a function: prepare DIR writes DIR/<split>/{train,dev,test}
#   demo          a function: what to show at the end of --demo
#
#   0 data   1 check   2 text   3 train   4 average   5 decode   6 score
#
# --robustness adds copies of the test set to the last two, in noise, in rooms and on the telephone; --long-form adds such of
# utterances joined. --int8 adds the exported model with weights of 8 bits, streamed without torch.
#
# results.jsonl keeps the rows of RESULTS.md: a recipe that is trained here replaces its own, the others stay.
#
# A stage that is done is skipped, unless its sources are newer or its settings others. A stage that was cut off starts
# clean, but for training, which goes on where it stopped and refuses other settings.
#
# Bash 3.2, as on a Mac, calls an empty array unbound: write ${name[@]+"${name[@]}"} (tests/recipes/test_shell.py).

usage="usage: run.sh [--stage N] [--stop-stage N] [--recipe NAME] [--tokens KIND] [--splits \"NAME ...\"] [--demo] [--robustness] [--long-form]
              [--int8] [key=value ...] [--decode-name NAME] [options of \`audiorec decode\`: --search, --beam, --beam-threshold, --lm, --lm-weight, --lm-bonus,
              --hotwords, --hotwords-score, --lexicon, --word-lm, --word-lm-weight, --word-bonus, --unk-score,
              --prior-weight, --fuse, --fuse-weight, --fuse-bonus, --rescore, --rescore-weight, --rescore-bonus, --skip-blank, --head,
              --device]
       Settings such as encoder.dim=256 go to the recipe. trainer.seed=N trains a run of its own, exp/<recipe>_seedN.
       --tokens phone trains with tokenizer.kind=phone in a run of its own, exp/<recipe>_phone.
       --decode-name keeps a second decoding beside the first: --stage 5 --decode-name beam4 --search beam --beam 4
       --robustness decodes the test set in noise, in rooms and on the telephone too: --stage 5 --robustness
       --long-form decodes utterances joined to longer ones, too, whole and streamed: --stage 5 --long-form
       --int8 exports the model with weights of 8 bits and streams it by onnxruntime, too: --stage 5 --int8"
wrong_use() {
  echo "${1:-$(echo "$usage" | head -n 1)}" >&2
  exit 2
}
absolute() { case $1 in /* | ?:*) echo "$1" ;; *) echo "$OLDPWD/$1" ;; esac; } # run.sh has changed the folder
quoted() { case $1 in *[!][A-Za-z0-9_./=,:+-]*) echo "'$1'" ;; *) echo "$1" ;; esac; }

stage=0 stop_stage=6 demo=false robustness=false long_form=false int8=false wanted_splits='' seed='' tokens=''
data=data exp=exp chunks="40 160 640" best=5 test_set=test exported=''
settings=() decode_options=() decode_name='' labels=() shown=''
while [ $# -gt 0 ]; do
  case $1:$# in
    --help:* | -h:*) echo "$usage" && exit 0 ;;
    --demo:*) demo=true ;;
    --robustness:*) robustness=true ;;
    --long-form:*) long_form=true ;;
    --int8:*) int8=true ;;
    --*:1) wrong_use ;;
    --stage:*) stage=$2 && shift ;;
    --stop-stage:*) stop_stage=$2 && shift ;;
    --recipe:*) recipe=$2 && shift ;;
    --tokens:*) tokens=$2 settings+=("tokenizer.kind=$2") shown+=" --tokens $2" && shift ;;
    --splits:*) wanted_splits=$2 && shift ;;
    --decode-name:*) decode_name=$2 shown+=" $1 $2" && shift ;;
    --lm:* | --hotwords:* | --lexicon:* | --word-lm:* | --fuse:* | --rescore:*)
      decode_options+=("$1" "$(absolute "$2")") shown+=" $1 $(quoted "$2")" && shift
      ;;
    --search:* | --beam:* | --beam-threshold:* | --lm-weight:* | --lm-bonus:* | --hotwords-score:* | --word-lm-weight:* | --word-bonus:* | \
      --unk-score:* | --prior-weight:* | --fuse-weight:* | --fuse-bonus:* | --rescore-weight:* | --rescore-bonus:* | --skip-blank:* | \
      --head:* | --device:*)
      decode_options+=("$1" "$2") shown+=" $1 $(quoted "$2")" && shift
      ;;
    --*) wrong_use ;;
    *=*)
      settings+=("$1") shown+=" $(quoted "$1")"
      case $1 in trainer.seed=*) seed=${1#*=} ;; esac
      ;;
    *) wrong_use ;;
  esac
  shift
done
case $stage$stop_stage in *[!0-9]*) wrong_use "error: --stage and --stop-stage need a number from 0 to 6" ;; esac
if { $robustness || $long_form || $int8; } && declare -F measure >/dev/null; then
  wrong_use "error: --robustness, --long-form and --int8 count words, and the results of $corpus are none"
fi
case $decode_name in */* | .*) wrong_use "error: --decode-name $decode_name: must be the name of a folder" ;; esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for bin in "$root/.venv/bin" "$root/.venv/Scripts"; do # Scripts: Windows
  if [ -x "$bin/audiorec" ] || [ -x "$bin/audiorec.exe" ]; then PATH="$bin:$PATH"; fi
done
recipe_file=$root/recipes/$recipe.yaml
[ -f "$recipe_file" ] || wrong_use "error: recipes/$recipe.yaml: no such recipe"
if declare -F options_of >/dev/null; then options+=($(options_of "$recipe")); fi
main_split=${splits%% *}
for split in ${wanted_splits:=$splits}; do
  case " $splits " in *" $split "*) ;; *) wrong_use "error: --splits $split: the splits are $splits" ;; esac
done
command="egs/$corpus/run.sh --recipe $recipe$shown"
if $demo; then command+=" --demo"; fi
if $demo; then
  data=exp/demo/data exp=exp/demo chunks=100 wanted_splits=$main_split
  options+=(${demo_options[@]+"${demo_options[@]}"})
fi
all_settings=(${options[@]+"${options[@]}"} ${settings[@]+"${settings[@]}"})

wanted() { [ "$stage" -le "$1" ] && [ "$1" -le "$stop_stage" ]; }

# once MARK "SOURCE ..." SETTINGS COMMAND...: run the command unless the file MARK holds these settings, with which it was
# finished after each SOURCE was last written.
once() {
  local mark=$1 sources=$2 chosen=$3 source newer=false && shift 3
  for source in $sources; do if [ "$source" -nt "$mark" ]; then newer=true; fi; done
  if [ -e "$mark" ] && ! $newer && [ "$(cat "$mark")" = "$chosen" ]; then return; fi
  "$@"
  mkdir -p "$(dirname "$mark")" && echo "$chosen" >"$mark"
}

setting() { audiorec config get "$recipe_file" "$@" ${all_settings[@]+"${all_settings[@]}"}; }

run_of() { # run_of SPLIT [RECIPE]
  local name=${2:-$recipe}${tokens:+_$tokens}${seed:+_seed$seed}
  if [ "$1" = "$main_split" ]; then echo "$exp/$name"; else echo "$exp/${name}_$1"; fi
}

pieces_of() { echo "$data/$1/tokenizer${tokens:+_$tokens}"; }

prepare_clean() { rm -rf "$data" && prepare "$data"; }

check() { for part in train dev test; do audiorec data validate "$data/$1/$part"; done; }

tokenizer() { # tokenizer SPLIT
  audiorec tokenizer "$data/$1/train" --recipe "$recipe_file" --out "$(pieces_of "$1")" \
    ${all_settings[@]+"${all_settings[@]}"}
}

# trained SPLIT RECIPE GIVEN: the run of the recipe, unless there is none or a model is given.
trained() {
  local before
  if [ -z "$2" ] || [ -n "$3" ]; then return; fi
  before=$(run_of "$1" "$2")
  if ! [ -d "$before/model" ]; then
    echo "error: $recipe needs $before, which is not there: first the same with --recipe $2" >&2
    exit 1
  fi
  echo "$before"
}

train() { # train SPLIT
  local values first='' init_from='' aligned='' aligner=''
  values=$(setting trainer.init_from_recipe trainer.init_from trainer.aligner_recipe trainer.aligner)
  { read -r first && read -r init_from && read -r aligned && read -r aligner; } <<<"$values" || true
  init_from=$(trained "$1" "$first" "$init_from")
  aligner=$(trained "$1" "$aligned" "$aligner")
  audiorec train "$recipe_file" ${all_settings[@]+"${all_settings[@]}"} \
    ${init_from:+trainer.init_from="$init_from"} ${aligner:+trainer.aligner="$aligner"} \
    --train "$data/$1/train" --valid "$data/$1/dev" --tokenizer "$(pieces_of "$1")" --out "$(run_of "$1")"
}

average() { # average RUN: of its best checkpoints; a short run has fewer of them
  local count && count=$(find "$1/checkpoints" -name 'epoch*.ckpt' | wc -l)
  audiorec average "$1" --best $((count < best ? count : best)) --valid "$data/$split/dev"
}

# decode SPLIT NAME OPTIONS...: into the run's decode/NAME, or decode/<decode-name>-NAME.
decode() {
  local split=$1 name=${decode_name:+$decode_name-}$2 run && shift 2 && run=$(run_of "$split")
  set -- "$@" ${decode_options[@]+"${decode_options[@]}"}
  once "$run/decode/.$name" "$run/model/model.safetensors $data/.done $data/$split/.$test_set" "$*" \
    audiorec decode "$run${exported:+/$exported}" --data "$data/$split/$test_set" --out "$run/decode/$name" "$@"
}

# Beside the test set: other parts of the data, and the model of 8 bits, which is made here.
decode_besides() { # decode_besides SPLIT
  local part run && run=$(run_of "$1")
  for part in ${besides:-}; do (test_set=$part && decode "$1" "$part"); done
  if $int8; then
    once "$run/.onnx-int8" "$run/model/model.safetensors" "" audiorec export "$run" --int8 --out "$run/onnx-int8"
    (exported=onnx-int8 && decode "$1" int8-160 --streaming --chunk-ms 160 --threads 1)
  fi
}

score_besides() { # score_besides SPLIT
  local part
  for part in ${besides:-}; do (test_set=$part && score "$1" "$part"); done
  if $int8; then (exported="onnx int8" command+=" --int8" && score "$1" int8-160 offline); fi
}

# each_search SPLIT ACTION: runs ACTION SPLIT with decode_name and decode_options of each search that the corpus adds.
each_search() {
  local name options
  if [ -n "$decode_name" ] || ! declare -F searches_of >/dev/null; then return; fi
  while read -r name options; do
    (decode_name=$name decode_options=($options) && "$2" "$1") </dev/null
  done < <(searches_of "$1")
}

# The copies of the test set that are asked for, a line each: what asks for it, a name, what its rows say, and the command that
# makes it, but for FOLDER OUT.
copies() {
  local ratio count
  if $robustness; then
    for ratio in ${ratios:-20 10 5 0}; do echo "--robustness noise-$ratio condition=noise,snr_db=$ratio in_noise $ratio"; done
    echo "--robustness reverberated condition=reverberated audiorec data degrade --reverberate"
    echo "--robustness telephone condition=telephone audiorec data degrade --telephone"
  fi
  if $long_form; then
    for count in ${lengths:-2 4 8 16 32}; do echo "--long-form joined-$count joined=$count audiorec data join --count $count"; done
  fi
}

in_noise() { # in_noise RATIO FOLDER OUT
  local folder && folder=$(audiorec data find noise --cache "$root/.cache")
  audiorec data degrade "$2" "$3" --snr "$1" --noise "$folder" --noise-files "${noise_files:=esc10/*/5-*}"
}

# each_copy SPLIT ACTION: runs ACTION SPLIT NAME COMMAND... for each copy, as if it were the test set.
each_copy() {
  local flag name said making
  while read -r flag name said making; do
    (test_set=test-$name labels=(${said//,/ }) command+=" $flag" && "$2" "$1" "$name" $making) </dev/null
  done < <(copies)
}

make_copy() { # make_copy FOLDER OUT COMMAND...
  local folder=$1 out=$2 && shift 2
  rm -rf "$out" && "$@" "$folder" "$out"
}

decode_copy() { # decode_copy SPLIT NAME COMMAND...
  local split=$1 name=$2 && shift 2
  once "$data/$split/.$test_set" "$data/.done" "$* ${noise_files:-}" make_copy "$data/$split/test" "$data/$split/$test_set" "$@"
  decode "$split" "$name"
  case $name in joined-*) decode "$split" "$name-streamed" --streaming --chunk-ms 160 --threads 1 ;; esac
}

score_copy() {
  score "$1" "$2"
  case $2 in joined-*) score "$1" "$2-streamed" "$2" ;; esac
}

decode_all() {
  decode "$1" offline
  for ms in $chunks; do decode "$1" "streamed-$ms" --streaming --chunk-ms "$ms" --threads 1; done
  for ahead in $latencies; do
    decode "$1" "offline-at-$ahead" --latency-ms "$ahead"
    decode "$1" "streamed-at-$ahead" --latency-ms "$ahead" --streaming --chunk-ms 160 --threads 1
  done
  decode_besides "$1"
  each_copy "$1" decode_copy
}

score_all() {
  score "$1" offline
  for ms in $chunks; do score "$1" "streamed-$ms" offline; done
  for ahead in $latencies; do
    score "$1" "offline-at-$ahead"
    score "$1" "streamed-at-$ahead" "offline-at-$ahead"
  done
  score_besides "$1"
  each_copy "$1" score_copy
}

decode_words() {
  decode "$1" offline
  decode "$1" streamed-160 --streaming --chunk-ms 160 --threads 1
  decode_besides "$1"
  each_copy "$1" decode_copy
}

score_words() {
  score "$1" offline
  score "$1" streamed-160 offline
  score_besides "$1"
  each_copy "$1" score_copy
}

score() { # score SPLIT NAME [SAME]: SAME is the decoding whose words should be the same
  local prefix=${decode_name:+$decode_name-} folder && folder=$(run_of "$1")/decode
  local search=$decode_name${exported:+${decode_name:+, }$exported} part='' && case $test_set in test*) ;; *) part=" $test_set" ;; esac
  echo -n "$recipe on $1, $prefix$2: "
  audiorec score "$data/$1/$test_set" "$folder/$prefix$2" ${3:+--same-as "$folder/$prefix$3"} \
    ${labels[@]+"${labels[@]/#/--label=}"} ${search:+--label search="$search"} ${seed:+--label seed="$seed"} \
    --label "recipe=$recipe${tokens:+ $tokens}" --label "split=$1$part" \
    --label "commit=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)" --label "command=$command"
}

if wanted 0; then once "$data/.done" local/prepare.py "" prepare_clean; fi
for split in $wanted_splits; do
  run=$(run_of "$split")
  if wanted 1; then once "$data/$split/.checked" "$data/.done" "" check "$split"; fi
  if wanted 2; then
    chosen=$(setting tokenizer)
    once "$(pieces_of "$split")/.done" "$data/.done" "$chosen" tokenizer "$split"
  fi
  if wanted 3; then train "$split"; fi
  if wanted 4; then once "$run/.averaged" "$run/checkpoints/last.ckpt" "" average "$run"; fi
  if wanted 5 || wanted 6; then latencies=$(audiorec info "$run" --latencies); fi # a model of several: at each of them
  # Phones are no words without a search that knows words: the plain decoding is not measured.
  if wanted 5; then
    if [ "$tokens" != phone ] || [ -n "$decode_name" ]; then decode_all "$split"; fi
    each_search "$split" decode_words
  fi
  if wanted 6; then
    if declare -F measure >/dev/null; then
      measure "$run" "$data/$split/test"
      continue
    fi
    if [ "$tokens" != phone ] || [ -n "$decode_name" ]; then score_all "$split"; fi
    each_search "$split" score_words
    audiorec card "$run" "$run"/decode/*/score.json
    audiorec report "$run"
  fi
done
if wanted 6 && $demo; then
  demo
elif wanted 6 && ! declare -F measure >/dev/null; then
  audiorec report "$exp"/*/decode/*/score.json --rows results.jsonl --out RESULTS.md --title "$title" \
    ${notes[@]+"${notes[@]/#/--note=}"}
fi
