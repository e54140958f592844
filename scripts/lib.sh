# Functions for the scripts in this folder. Source it, do not run it.
# shellcheck shell=bash

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

TOOLS=$ROOT/.tools
WASM_TARGET=wasm32-wasip1
# 128-bit vectors make the search in bodies faster. V8 has them in every supported Envoy.
WASM_FEATURES="-C target-feature=+simd128"
# The module names source files where it may panic. Without these paths it is the same wherever it is built.
REMAP_PATHS="--remap-path-prefix=$ROOT= --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
WASM_TOOLCHAIN_FILE=$TOOLS/wasm-toolchain
LINT_TOOLS=$TOOLS/lint
# The npm package binaryen contains wasm-opt as a program for Node, the same for every platform.
WASM_OPT_VERSION=132.0.0
WASM_OPT_HOME=$TOOLS/wasm-opt/$WASM_OPT_VERSION
# More threads than processors, because most tests wait for Envoy.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(getconf _NPROCESSORS_ONLN) + 2))}
# Debian's toolchain is another compiler. In a shared target directory each would rebuild what the other built.
TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
DEBIAN_TARGET_DIR=$TARGET_DIR/debian

say() { printf '%s\n' "$*"; }

die() {
    printf '\n%s\n' "error: $1" >&2
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 1
}

# The supported versions of Envoy, oldest first.
supported_envoys() { cat ENVOY_SUPPORTED; }
oldest_envoy() { head -n 1 ENVOY_SUPPORTED; }

# The minimum version of Rust, such as 1.95.
minimum_rust() { sed -n 's/^rust-version = "\([0-9]*\.[0-9]*\).*"$/\1/p' Cargo.toml; }

# rustc_version RUSTC: major and minor version of a compiler.
rustc_version() { "$1" --version | sed -E 's/^rustc ([0-9]+\.[0-9]+).*/\1/'; }

# rustup_toolchain VERSION: the name of an installed stable rustup toolchain of that version; empty if there is none.
rustup_toolchain() {
    local name
    have rustup || return 0
    for name in $(rustup toolchain list 2>/dev/null | cut -d ' ' -f 1); do
        case $name in nightly* | beta*) continue ;; esac
        if [ "$(RUSTUP_TOOLCHAIN=$name rustc_version rustc 2>/dev/null)" = "$1" ]; then
            say "$name"
            return
        fi
    done
}

# lint_tool NAME: the path of a tool for `make lint`. The pinned version has priority over one on the PATH.
lint_tool() {
    if [ -x "$LINT_TOOLS/bin/$1" ]; then
        say "$LINT_TOOLS/bin/$1"
    else
        command -v "$1"
    fi
}

# wasm_opt ARGS…: runs the wasm-opt that scripts/setup.sh fetched.
wasm_opt() { node "$WASM_OPT_HOME/bin/wasm-opt" "$@"; }

have() { command -v "$1" >/dev/null 2>&1; }

# bounded SECONDS COMMAND…: runs with a time limit; without one where coreutils' timeout is missing (macOS).
bounded() {
    local seconds=$1
    shift
    if have timeout; then
        timeout "$seconds" "$@"
    else
        "$@"
    fi
}

# wasm_cargo SUBCOMMAND TOOLCHAIN ARGS…: runs cargo for the Wasm target.
wasm_cargo() {
    local subcommand=$1 toolchain=$2
    shift 2
    case $toolchain in
    default)
        CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="$WASM_FEATURES $REMAP_PATHS" cargo "$subcommand" --target "$WASM_TARGET" "$@"
        ;;
    debian)
        local -a cargo=(/usr/bin/cargo "$subcommand")
        # `/usr/bin/cargo clippy` would run rustup's clippy from ~/.cargo/bin, which belongs to another compiler.
        [ "$subcommand" != clippy ] || cargo=(/usr/bin/cargo-clippy clippy)
        env -u RUSTUP_TOOLCHAIN \
            CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$DEBIAN_TARGET_DIR" \
            RUSTFLAGS="-C linker=wasm-ld-19 -C link-self-contained=no -C link-arg=-L/usr/lib/wasm32-wasi $WASM_FEATURES $REMAP_PATHS" \
            "${cargo[@]}" --target "$WASM_TARGET" -Zbuild-std=std,panic_abort "$@"
        ;;
    *) die "unknown Wasm toolchain '$toolchain'" "Known: default, debian. Remove $WASM_TOOLCHAIN_FILE and run: make setup" ;;
    esac
}

# wasm_release_dir TOOLCHAIN: the directory of the toolchain's release build.
wasm_release_dir() {
    case $1 in
    debian) say "$DEBIAN_TARGET_DIR/$WASM_TARGET/release" ;;
    *) say "$TARGET_DIR/$WASM_TARGET/release" ;;
    esac
}

# Sets WASM_TOOLCHAIN to the toolchain that scripts/setup.sh chose.
load_wasm_toolchain() {
    [ -f "$WASM_TOOLCHAIN_FILE" ] || die "no Wasm toolchain has been set up" "Run: make setup"
    # shellcheck source=/dev/null
    . "$WASM_TOOLCHAIN_FILE"
}
