#!/usr/bin/env bash
# Takes a corpus of the size of COCO (123,287 images, 616,767 captions, 512 wide) through index, a few training steps and
# an evaluation, and says how long each took and how much memory it held at most. Fails above 6 GiB.
# Needs Python 3.10 or newer, GNU time, 2 GB of disk, and a small corpus of embeddings to repeat (see configs/features.toml).
#
#   scripts/size/run.sh EMBEDDINGS [FOLDER [TEST]]
#
# TEST is the number of test images, 5,000 as in COCO unless said: an evaluation takes time in proportion to them, and the
# memory it needs goes with the gallery of all images, which stays.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
from="${1:?name a folder with corpus.jsonl, images.npy and captions.npy}"
to="${2:-$here/../../target/size}"
dsi="${DSI:-$here/../../target/release/dsi}"
most=$((6 * 1024 * 1024)) # KiB

if [[ ! -f "$to/corpus/captions.npy" ]]; then
  venv="${DSI_SIZE_VENV:-$here/../../target/size-venv}"
  if [[ ! -x "$venv/bin/python" ]]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet -r "$here/requirements.txt"
  fi
  "$venv/bin/python" "$here/corpus.py" "$from" "$to/corpus" "${3:-5000}"
fi

# Every step is that of a COCO run; there are only fewer of them. The gallery of all 123,287 images is measured, the split's
# and its folds as well. The gate on survival is open: noise in 512 directions is nothing that codebooks could learn.
sets=(data.name=coco-size "data.root=$to/corpus" device=cpu eval.split=test eval.folds=5
  index.min_survival=0 train.steps=10 train.validate_every=10 eval.bootstrap=100)

step() { # name, arguments of dsi…
  local name="$1" report="$to/$1.time"
  shift
  /usr/bin/time -f "%e %M" -o "$report" "$dsi" "$@" > "$to/$name.out" 2> "$to/$name.log" || { tail -5 "$to/$name.log" >&2; exit 1; }
  read -r seconds kib < "$report"
  echo "$name: $seconds s, $((kib / 1024)) MiB"
  if ((kib > most)); then
    echo "$name held more than 6 GiB" >&2
    exit 1
  fi
}

config="$here/../../configs/features.toml"
flags=()
for set in "${sets[@]}" ${DSI_SIZE_SETS:-}; do flags+=(--set "$set"); done
rm -rf "$to/run"
step index index --config "$config" "${flags[@]}" --out "$to/run"
# `train` ends with the evaluation of its configuration, so it covers train and eval; `eval` alone opens the run anew.
step train train --config "$config" "${flags[@]}" --out "$to/run"
step eval eval --run "$to/run"
