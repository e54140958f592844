#!/usr/bin/env bash
# Builds the filter for Envoy as dist/llm_failsafe.wasm.
# If `make setup` has fetched wasm-opt, the module is optimized, and its function names go to dist/llm_failsafe.symbols.
# WASM_OPT=none builds without it, which saves half a minute.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

module=dist/llm_failsafe.wasm

load_wasm_toolchain
wasm_cargo build "$WASM_TOOLCHAIN" --release -p llm-failsafe

built=$(wasm_release_dir "$WASM_TOOLCHAIN")/llm_failsafe.wasm
[ -s "$built" ] || die "the build did not create $built"
mkdir -p dist

# What to say about wasm-opt; sets `finished` to the module to deliver.
optimize() {
    finished=$built
    if [ "${WASM_OPT:-}" = none ]; then
        how="without wasm-opt, as asked"
        return
    fi
    if ! have node || [ ! -f "$WASM_OPT_HOME/bin/wasm-opt" ]; then
        how="without wasm-opt, so each request costs more CPU. make setup fetches it; it needs Node and npm"
        return
    fi
    how="with wasm-opt $WASM_OPT_VERSION"
    finished=$built.optimized
    # The first kilobyte of memory is the far end of the stack, so no pointer is so low and offsets can be folded.
    # Without names the module is smaller. The symbol file tells which number in a stack trace is which function.
    local flags=(-O3 --low-memory-unused --strip-debug --strip-producers --strip-target-features)
    # Optimizing takes half a minute, so an unchanged module is not optimized again.
    if [ -f "$finished" ] && cmp -s "$built" "$built.input" && [ "$(cat "$finished.version")" = "$WASM_OPT_VERSION ${flags[*]}" ]; then
        return
    fi
    rm -f "$finished"
    wasm_opt "${flags[@]}" "$built" \
        --symbolmap="$built.symbols" -o "$finished" ||
        die "wasm-opt could not optimize $built" "WASM_OPT=none make build does without it."
    cp "$built" "$built.input"
    say "$WASM_OPT_VERSION ${flags[*]}" >"$finished.version"
}

optimize
rm -f "${module%.wasm}.symbols"
[ "$finished" = "$built" ] || cp "$built.symbols" "${module%.wasm}.symbols"
# The rename is atomic: an Envoy that starts now never reads half a module.
cp "$finished" "$module.new"
mv "$module.new" "$module"
say "built: $module ($(($(wc -c <"$module") / 1024)) KiB, $how)"
