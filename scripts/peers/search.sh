#!/usr/bin/env bash
# What a search costs and finds, next to faiss: OUT/search.json.
#
#   OUT=runs/peers SIZES="1000 100000 1000000" scripts/peers/search.sh IMAGES.npy CAPTIONS.npy
#
# IMAGES and CAPTIONS are embeddings in one space, captions image by image, equally many each. Up to their number they
# are used as they are. Larger collections are drawn from a mixture that is fitted to them, and are called simulated.
# Builds dsi, and installs what Python needs into OUT/python. One thread; a time is comparable within a run only.
set -euo pipefail
images=$(realpath "$1") captions=$(realpath "$2")
cd "$(dirname "$0")/../.."
out=${OUT:-runs/peers}
mkdir -p "$out"
cargo build --release --locked
[ -x "$out/python/bin/python" ] || python3 -m venv "$out/python"
"$out/python/bin/pip" install -q -r scripts/peers/requirements.txt
OMP_NUM_THREADS=1 RAYON_NUM_THREADS=$(nproc) "$out/python/bin/python" scripts/peers/search.py \
  --dsi "${CARGO_TARGET_DIR:-target}/release/dsi" --images "$images" --captions "$captions" --out "$out" --sizes ${SIZES:-1000 7000 100000 1000000}
