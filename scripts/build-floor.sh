#!/usr/bin/env bash
# Builds the module without logic that makes the filter's host calls, as dist/floor.wasm. `make bench` measures it.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

load_wasm_toolchain
wasm_cargo build "$WASM_TOOLCHAIN" --release -q -p floor
mkdir -p dist
cp "$(wasm_release_dir "$WASM_TOOLCHAIN")/floor.wasm" dist/floor.wasm.new
mv dist/floor.wasm.new dist/floor.wasm
say "built: dist/floor.wasm"
