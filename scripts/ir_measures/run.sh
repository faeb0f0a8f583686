#!/usr/bin/env bash
# Recomputes R@1/5/10, RR@10 and nDCG@10 of every row of dsi's reports with the package ir_measures, and fails where one
# differs by more than 1e-6. Needs Python 3.10 or newer; the packages go into a virtual environment of their own.
#
#   scripts/ir_measures/run.sh runs/scenes/eval/*.json
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
venv="${DSI_IR_MEASURES_VENV:-$here/../../target/ir_measures-venv}"
if [[ ! -x "$venv/bin/python" ]]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet -r "$here/requirements.txt"
fi
exec "$venv/bin/python" "$here/check.py" "$@"
