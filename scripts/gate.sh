#!/usr/bin/env bash
# Everything a developer checks before a change: what CI runs, and documentation, benches and dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."

NO_INSTALL=1 bash .ci/run
RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps
cargo bench --locked --no-run
# A library user may leave out fetching and drawing; each part compiles without the other.
for features in "" fetch scenes; do
  cargo clippy --locked --no-default-features --features "$features" --all-targets -- -D warnings
done
if command -v cargo-deny >/dev/null; then
  cargo deny check
else
  echo "skipped: cargo deny (install it with: cargo install cargo-deny)"
fi
