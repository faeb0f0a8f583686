#!/usr/bin/env bash
# Fuzzes the readers of outside files with libFuzzer, on stable Rust:
#
#   scripts/fuzz/run.sh build
#   scripts/fuzz/run.sh TARGET [EXECUTIONS [SECONDS]]     # tests/it/fuzz/targets.rs lists the targets
#   scripts/fuzz/run.sh minimise TARGET [MOST]            # keeps some of the inputs found in tests/fixture/fuzz/TARGET
#
# Inputs that are found go to target/fuzz/TARGET, and those that fail to target/fuzz/failed/TARGET-*. A panic, ten seconds for one
# input, and more than 564 MiB of memory are failures. An input of more than a second is kept as a slow-unit: the coverage and
# the other work of the machine may be why, so look at it with the program itself. Needs a C++ compiler.
set -euo pipefail
cd "$(dirname "$0")/../.."
host=$(rustc -vV | sed -n 's/^host: //p')
binary=target/fuzz/build/$host/release/dsi-fuzz
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"

build() {
  RUSTFLAGS=$(echo $coverage) cargo build --release --manifest-path scripts/fuzz/Cargo.toml --target "$host" \
    --target-dir target/fuzz/build
}

fuzz() {
  local target=$1 executions=${2:-1000000} seconds=${3:-7200}
  mkdir -p "target/fuzz/$target" target/fuzz/failed "tests/fixture/fuzz/$target"
  export DSI_FUZZ_TARGET=$target
  [ -d /dev/shm ] && export TMPDIR=/dev/shm
  "$binary" -runs="$executions" -max_total_time="$seconds" -timeout=10 -report_slow_units=1 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="target/fuzz/failed/$target-" "target/fuzz/$target" "tests/fixture/fuzz/$target"
}

# The inputs with a name are kept as they are; of those that were found, a smallest set with the same coverage, and of that
# every n-th by size, so that the repository does not fill with files.
minimise() {
  local target=$1 most=${2:-40} kept count
  kept=$(mktemp -d)
  export DSI_FUZZ_TARGET=$target
  "$binary" -set_cover_merge=1 -max_len=4096 "$kept" "target/fuzz/$target" "tests/fixture/fuzz/$target"
  count=$(ls "$kept" | wc -l)
  ls -S "$kept" | awk -v step=$(((count + most - 1) / most)) 'step <= 1 || NR % step == 0' |
    while read -r input; do cp "$kept/$input" "tests/fixture/fuzz/$target/${input:0:12}"; done
  rm -rf "$kept"
}

case "${1:-}" in
  build) build ;;
  minimise) minimise "$2" ;;
  "") sed -n 2,10p "$0"; exit 2 ;;
  *) fuzz "$@" ;;
esac
