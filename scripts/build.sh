#!/usr/bin/env bash
# Builds the filter for Envoy as dist/llm_failsafe.wasm.
# With --count-host-calls: builds the variant for `make bench`, which counts its host calls, as
# dist/llm_failsafe_counting.wasm.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

module=dist/llm_failsafe.wasm
features=()
case ${1:-} in
'') ;;
--count-host-calls)
    module=dist/llm_failsafe_counting.wasm
    features=(--features count-host-calls)
    ;;
*) die "unknown argument '$1'" "Known: --count-host-calls" ;;
esac

load_wasm_toolchain
wasm_cargo build "$WASM_TOOLCHAIN" --release -p llm-failsafe ${features[@]+"${features[@]}"}

built=$(wasm_release_dir "$WASM_TOOLCHAIN")/llm_failsafe.wasm
[ -s "$built" ] || die "the build did not create $built"
mkdir -p dist
# The rename is atomic: an Envoy that starts now never reads half a module.
cp "$built" "$module.new"
mv "$module.new" "$module"
say "built: $module ($(($(wc -c <"$module") / 1024)) KiB)"
