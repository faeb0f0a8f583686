#!/usr/bin/env bash
# Proves the encoder against transformers and open_clip at the full shapes of the published models, on real photos
# and captions:
#
#   scripts/parity/run.sh PHOTOS TOKENIZER [KARPATHY.json ...]
#
# PHOTOS is a folder of photos; TOKENIZER holds CLIP's tokenizer.json, vocab.json and merges.txt. Wants 8 GB of
# memory, and 12 GB of disk for the largest model and Python's libraries, in the folder DSI_PARITY (default:
# target/parity). SHAPES chooses among the models; PYTHON uses another interpreter than the one made here.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,10s/^# \?//p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
photos=$(realpath "$1") tokenizer=$(realpath "$2")
shift 2
karpathy=()
for file in "$@"; do karpathy+=("$(realpath "$file")"); done
cd "$here/../.."
export DSI_PARITY=${DSI_PARITY:-$PWD/target/parity}
mkdir -p "$DSI_PARITY"
export HF_HUB_OFFLINE=1

python=${PYTHON:-$DSI_PARITY/python/bin/python}
# The copy is made last, so that an installation that was cut short, or is of other requirements, is made again.
installed=$DSI_PARITY/python/requirements.txt
if [ -z "${PYTHON:-}" ] && ! cmp --silent "$here/requirements.txt" "$installed"; then
  python3 -m venv "$DSI_PARITY/python"
  "$python" -m pip install --quiet --requirement "$here/requirements.txt"
  cp "$here/requirements.txt" "$installed"
fi
compare() { cargo test --release --locked --test it -- "parity::$1"; }

"$python" "$here/photos.py" "$DSI_PARITY/photos" "$photos"
compare photos::real_photos
"$python" "$here/tokens.py" "$DSI_PARITY/tokens" "$tokenizer" "${karpathy[@]}"
compare tokens::real_captions
for shape in ${SHAPES:-tinyclip-8m-16 vit-b-32 vit-b-16 open-clip vit-l-14 vit-l-14-336}; do
  rm -rf "$DSI_PARITY/models"
  "$python" "$here/models.py" "$DSI_PARITY/models" "$shape" "$tokenizer" "$photos"
  compare encoder::full_shapes
done
rm -rf "$DSI_PARITY/models"
