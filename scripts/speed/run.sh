#!/usr/bin/env bash
# A step of dsi pretrain against the same step in PyTorch, on one device in one run: CLIP ViT-B/32 of random weights, the
# contrastive loss of BATCH pairs, gradients clipped to norm 1, AdamW on all parameters. f32 on the CPU; on a GPU blocks in bf16
# and parameters in f32, PyTorch with torch.compile off and on.
#
#   scripts/speed/run.sh TOKENIZER                                # the CPU, 16 pairs a step
#   DEVICE=cuda:0 BATCH=256 scripts/speed/run.sh TOKENIZER
#
# TOKENIZER is a folder with CLIP's tokenizer.json, vocab.json and merges.txt. Wants 8 GB of memory and, in the folder DSI_SPEED
# (default: target/speed), 7 GB of disk for Python's libraries. STEPS (12) are timed; PYTHON uses another interpreter than the
# one made here.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,12s/^# \?//p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
tokenizer=$(realpath "$1")
cd "$here/../.."
work=${DSI_SPEED:-$PWD/target/speed}
device=${DEVICE:-cpu} batch=${BATCH:-16} steps=${STEPS:-12}
mkdir -p "$work"

python=${PYTHON:-$work/python/bin/python}
installed=$work/python/requirements.txt
if [ -z "${PYTHON:-}" ] && ! cmp --silent "$here/requirements.txt" "$installed"; then
  python3 -m venv "$work/python"
  "$python" -m pip install --quiet --requirement "$here/requirements.txt"
  cp "$here/requirements.txt" "$installed"
fi
features=()
[ "$device" = cpu ] || features=(--features cuda)
cargo build --release --locked "${features[@]}"
dsi=${CARGO_TARGET_DIR:-target}/release/dsi

"$python" "$here/step.py" model "$work/clip" "$tokenizer"
"$dsi" pretrain --config configs/scenes.toml --force --out "$work/run" --set data.name=speed \
  --set data.root="$work/scenes" --set data.train=300 --set data.val=2 --set data.test=2 \
  --set device="$device" --set pretrain.init="$work/clip" --set pretrain.out="$work/out" \
  --set pretrain.batch="$batch" --set pretrain.steps="$((steps + 3))" --set pretrain.lr=1e-5 \
  --set pretrain.log_every=1 --set pretrain.validate_every=1000 2> "$work/log" || { cat "$work/log"; exit 1; }
"$python" "$here/step.py" compare "$work" "$device" "$batch" "$steps"
