#!/usr/bin/env bash
# The numbers of a dataset from nothing: fetch, check, make or tune the encoder where the configuration does, index,
# train and evaluate on three seeds, compare.
#
#   scripts/reproduce.sh flickr30k
#   scripts/reproduce.sh coco-b32-tuned --set device=cuda:0
#   SEEDS="0" scripts/reproduce.sh flickr8k --set encoder.path=openai/clip-vit-base-patch32
#
# What is done is not done again: begun anew, it goes on where it was stopped. More arguments go to pretrain, index and
# train. An encoder is made once, with the configuration's own seed; the three seeds are the decoder's.
# CARGO_FLAGS="--features cuda" builds for a GPU; DSI names a program that is built already.
set -euo pipefail
cd "$(dirname "$0")/.."

name="${1:-}"
config="configs/$name.toml"
if [ -z "$name" ] || [ ! -f "$config" ]; then
  echo "usage: scripts/reproduce.sh NAME [--set SECTION.KEY=VALUE …], NAME being that of a file in configs/" >&2
  exit 2
fi
shift

if [ -z "${DSI:-}" ]; then
  # shellcheck disable=SC2086
  cargo build --release --locked ${CARGO_FLAGS:-}
  DSI="${CARGO_TARGET_DIR:-target}/release/dsi"
fi

# The text that the configuration gives a key. Each key read here is in one section only; `name` is read from [data],
# which comes first.
value() { sed -n "s/^$1 = \"\([^\"]*\)\".*/\1/p" "$config" | head -n 1; }

dataset=$(value name)
case "$dataset" in
  flickr8k | flickr30k | coco) "$DSI" data fetch "$dataset" ;;
  *) "$DSI" data verify --config "$config" "$@" ;;
esac

encoder=$(value path)
if [ -n "$encoder" ] && [ "$encoder" = "$(value out)" ] && [[ "$*" != *encoder.path=* ]]; then
  run="runs/$name-pretrain"
  how=()
  if compgen -G "$run/checkpoints/*" >/dev/null; then how=(--resume); fi
  "$DSI" pretrain --config "$config" --out "$run" "${how[@]}" "$@"
fi

runs=()
for seed in ${SEEDS:-0 1 2}; do
  run="runs/$name-seed$seed"
  runs+=("$run")
  if compgen -G "$run/checkpoints/*" >/dev/null; then
    "$DSI" train --config "$config" --seed "$seed" --out "$run" --resume "$@"
  else
    "$DSI" index --config "$config" --seed "$seed" --out "$run" "$@"
    "$DSI" train --config "$config" --seed "$seed" --out "$run" "$@"
  fi
  "$DSI" eval --run "$run" --split test
done

"$DSI" compare "${runs[@]}"
