# The stages that all corpora share; egs/<corpus>/run.sh sources this. A corpus says, before:
#   corpus    its name, the title of its results
#   recipe    what is trained where no recipe is named
#   splits    its ways to divide the data, each with a training of its own; the first one is the corpus's main one
#   options   settings of the recipe that the corpus needs, key=value
#   options_of  a function, where there is one: options_of RECIPE says which one recipe needs besides
#   prepare   a function: prepare DIR writes DIR/<split>/{train,dev,test}
#   demo      a function: what to show at the end of --demo
#
#   0 data   1 check   2 text   3 train   4 average   5 decode   6 score
#
# A stage that is done is skipped, unless what it is made from is newer. One that was cut off starts clean, but training,
# which goes on where it was.

usage="usage: run.sh [--stage N] [--stop-stage N] [--recipe NAME] [--splits \"NAME ...\"] [--demo] [key=value ...]"
stage=0 stop_stage=6 demo=false wanted_splits=
data=data exp=exp chunks="40 160 640" best=5
settings=()
while [ $# -gt 0 ]; do
  case $1:$# in
    --stage:1 | --stop-stage:1 | --recipe:1 | --splits:1) echo "$usage" >&2 && exit 2 ;;
    --stage:*) stage=$2 && shift ;;
    --stop-stage:*) stop_stage=$2 && shift ;;
    --recipe:*) recipe=$2 && shift ;;
    --splits:*) wanted_splits=$2 && shift ;;
    --demo:*) demo=true ;;
    --help:* | -h:*) echo "$usage" && exit 0 ;;
    *=*) settings+=("$1") ;;
    *) echo "$usage" >&2 && exit 2 ;;
  esac
  shift
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ -x "$root/.venv/bin/audiorec" ] && PATH="$root/.venv/bin:$PATH"
[ -f "$root/recipes/$recipe.yaml" ] || { echo "error: recipes/$recipe.yaml: no such recipe" >&2 && exit 2; }
if declare -F options_of >/dev/null; then options+=($(options_of "$recipe")); fi
main_split=${splits%% *}
for split in ${wanted_splits:=$splits}; do
  case " $splits " in *" $split "*) ;; *) echo "error: --splits $split: the splits are $splits" >&2 && exit 2 ;; esac
done
command="egs/$corpus/run.sh --recipe $recipe${settings[*]:+ ${settings[*]}}"
if $demo; then
  data=exp/demo/data exp=exp/demo chunks=100 wanted_splits=$main_split
  command="egs/$corpus/run.sh --demo --recipe $recipe"
  settings=("${demo_options[@]}" "${settings[@]}")
fi

wanted() { [ "$stage" -le "$1" ] && [ "$1" -le "$stop_stage" ]; }

# once MARK SOURCE COMMAND...: run the command unless the file MARK says that it was done after SOURCE was last made.
once() {
  local mark=$1 source=$2 && shift 2
  if [ -e "$mark" ] && ! [ "$source" -nt "$mark" ]; then return; fi
  "$@"
  mkdir -p "$(dirname "$mark")" && touch "$mark"
}

run_of() { # run_of SPLIT [RECIPE]
  local name=${2:-$recipe}
  [ "$1" = "$main_split" ] && echo "$exp/$name" || echo "$exp/${name}_$1"
}

# What a recipe begins with, where that is another one's training on the same split.
begins_with() { case $1 in lstm_tdt) echo lstm_rnnt ;; *) return 1 ;; esac; }

prepare_clean() { rm -rf "$data" && prepare "$data"; }

check() { for part in train dev test; do audiorec data validate "$data/$1/$part"; done; }

train() {
  local first before=
  if first=$(begins_with "$recipe") && [[ " ${settings[*]}" != *" trainer.init_from="* ]]; then
    before=$(run_of "$1" "$first")
    if ! [ -d "$before/model" ]; then
      echo "error: $recipe begins with $before, which is not there: first the same with --recipe $first" >&2
      exit 1
    fi
  fi
  audiorec train "$root/recipes/$recipe.yaml" "${options[@]}" ${before:+trainer.init_from="$before"} "${settings[@]}" \
    --train "$data/$1/train" --valid "$data/$1/dev" --tokenizer "$data/$1/tokenizer" --out "$(run_of "$1")"
}

average() { # average RUN: of its best checkpoints, where a short run has fewer of all
  local made && made=$(find "$1/checkpoints" -name 'epoch*.ckpt' | wc -l)
  audiorec average "$1" --best $((made < best ? made : best)) --valid "$data/$split/dev"
}

decode() { # decode SPLIT NAME OPTIONS...
  local run && run=$(run_of "$1") && local out=$run/decode/$2
  audiorec decode "$run" --data "$data/$1/test" --out "$out" "${@:3}"
}

score() { # score SPLIT NAME OPTIONS...
  local out && out=$(run_of "$1")/decode
  echo -n "$recipe on $1, $2: "
  audiorec score "$data/$1/test" "$out/$2" "${@:3}" --label "recipe=$recipe" --label "split=$1" \
    --label "commit=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)" --label "command=$command"
}

if wanted 0; then once "$data/.done" local/prepare.py prepare_clean; fi
for split in $wanted_splits; do
  run=$(run_of "$split") model=$(run_of "$split")/model/model.safetensors
  kind=$(printf '%s\n' "${options[@]}" | sed -n 's/^tokenizer.kind=//p')
  size=$(printf '%s\n' "${options[@]}" | sed -n 's/^tokenizer.size=//p')
  if wanted 1; then once "$data/$split/.checked" "$data/.done" check "$split"; fi
  if wanted 2; then
    once "$data/$split/tokenizer/.done" "$data/.done" \
      audiorec tokenizer "$data/$split/train" --kind "${kind:-bpe}" ${size:+--size "$size"} --out "$data/$split/tokenizer"
  fi
  if wanted 3; then train "$split"; fi
  if wanted 4; then once "$run/.averaged" "$run/checkpoints/last.ckpt" average "$run"; fi
  if wanted 5; then
    once "$run/decode/.offline" "$model" decode "$split" offline
    for ms in $chunks; do
      once "$run/decode/.streamed-$ms" "$model" decode "$split" "streamed-$ms" --streaming --chunk-ms "$ms" --threads 1
    done
    for ahead in $(audiorec info "$run" --latencies); do # a model of several latencies, at each of them
      once "$run/decode/.offline-at-$ahead" "$model" decode "$split" "offline-at-$ahead" --latency-ms "$ahead"
      once "$run/decode/.streamed-at-$ahead" "$model" \
        decode "$split" "streamed-at-$ahead" --latency-ms "$ahead" --streaming --chunk-ms 160 --threads 1
    done
  fi
  if wanted 6; then
    score "$split" offline
    for ms in $chunks; do score "$split" "streamed-$ms" --same-as "$run/decode/offline"; done
    for ahead in $(audiorec info "$run" --latencies); do
      score "$split" "offline-at-$ahead"
      score "$split" "streamed-at-$ahead" --same-as "$run/decode/offline-at-$ahead"
    done
    audiorec card "$run" "$run"/decode/*/score.json
  fi
done
if wanted 6 && $demo; then
  demo
elif wanted 6; then
  audiorec report "$exp"/*/decode/*/score.json --out RESULTS.md --title "$title" "${notes[@]/#/--note=}"
fi
