# Shared by the scripts beside it; sourced, never run.
# shellcheck shell=bash

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

TOOLS=$ROOT/.tools
WASM_TARGET=wasm32-wasip1
# Vectors of 128 bits: every V8 of the supported Envoys knows them, and bodies are searched faster.
WASM_FEATURES="-C target-feature=+simd128"
WASM_TOOLCHAIN_FILE=$TOOLS/wasm-toolchain
# Most tests wait for Envoy more than they compute.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(getconf _NPROCESSORS_ONLN) + 2))}
# Debian's toolchain builds its own std, with another compiler: in one target directory the two would evict each other.
TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
DEBIAN_TARGET_DIR=$TARGET_DIR/debian

say() { printf '%s\n' "$*"; }

die() {
    printf '\n%s\n' "error: $1" >&2
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 1
}

# The versions of Envoy that are supported, the oldest first.
supported_envoys() { cat ENVOY_SUPPORTED; }
oldest_envoy() { head -n 1 ENVOY_SUPPORTED; }

have() { command -v "$1" >/dev/null 2>&1; }

# bounded SECONDS COMMAND…: where coreutils' timeout is missing (macOS), run without a bound rather than not at all.
bounded() {
    local seconds=$1
    shift
    if have timeout; then
        timeout "$seconds" "$@"
    else
        "$@"
    fi
}

# wasm_cargo SUBCOMMAND TOOLCHAIN ARGS…: cargo for the Wasm target with the toolchain that set-up chose.
wasm_cargo() {
    local subcommand=$1 toolchain=$2
    shift 2
    case $toolchain in
    default)
        CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="$WASM_FEATURES" cargo "$subcommand" --target "$WASM_TARGET" "$@"
        ;;
    debian)
        local -a cargo=(/usr/bin/cargo "$subcommand")
        # Through /usr/bin/cargo, `clippy` would find rustup's in ~/.cargo/bin first, with another compiler's metadata.
        [ "$subcommand" != clippy ] || cargo=(/usr/bin/cargo-clippy clippy)
        env -u RUSTUP_TOOLCHAIN \
            CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$DEBIAN_TARGET_DIR" \
            RUSTFLAGS="-C linker=wasm-ld-19 -C link-self-contained=no -C link-arg=-L/usr/lib/wasm32-wasi $WASM_FEATURES" \
            "${cargo[@]}" --target "$WASM_TARGET" -Zbuild-std=std,panic_abort "$@"
        ;;
    *) die "unknown Wasm toolchain '$toolchain'" "Known: default, debian. Remove $WASM_TOOLCHAIN_FILE and run: make setup" ;;
    esac
}

# The directory in which a toolchain leaves its release build.
wasm_release_dir() {
    case $1 in
    debian) say "$DEBIAN_TARGET_DIR/$WASM_TARGET/release" ;;
    *) say "$TARGET_DIR/$WASM_TARGET/release" ;;
    esac
}

# Sets WASM_TOOLCHAIN to what set-up recorded.
load_wasm_toolchain() {
    [ -f "$WASM_TOOLCHAIN_FILE" ] || die "no Wasm toolchain has been set up" "Run: make setup"
    # shellcheck source=/dev/null
    . "$WASM_TOOLCHAIN_FILE"
}
