#!/usr/bin/env bash
# Formatting and clippy, for the native target (all crates, tests included) and for the Wasm target (the filter).

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_component() {
    cargo "$1" --version >/dev/null 2>&1 || die "cargo $1 is missing" "With rustup: rustup component add $2"
}

load_wasm_toolchain
need_component fmt rustfmt
need_component clippy clippy

say "lint: formatting"
cargo fmt --all --check
say "lint: clippy"
cargo clippy -q --workspace --all-targets -- -D warnings
say "lint: clippy for $WASM_TARGET"
if [ "$WASM_TOOLCHAIN" = debian ] && [ ! -x /usr/bin/cargo-clippy ]; then
    die "clippy for Debian's Wasm toolchain is missing" "As root: apt-get install rust-web-clippy"
fi
wasm_cargo clippy "$WASM_TOOLCHAIN" -q -p llm-failsafe --lib -- -D warnings
