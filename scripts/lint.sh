#!/usr/bin/env bash
# Formatting, clippy, the minimum Rust version, dependencies and shell scripts. A check whose tool cannot be had on this
# machine is skipped with a note at the end; in CI (CI is set) a missing tool is an error.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

skipped=()

# skip WHAT REASON: notes a check that does not run here; fails in CI.
skip() {
    [ -z "${CI:-}" ] || die "CI must check $1" "$2"
    skipped+=("NOT CHECKED: $1. $2")
}

need_component() {
    cargo "$1" --version >/dev/null 2>&1 || die "cargo $1 is missing" "With rustup: rustup component add $2"
}

lint_rust() {
    need_component fmt rustfmt
    need_component clippy clippy
    say "lint: formatting"
    cargo fmt --all --check
    cargo fmt --manifest-path fuzz/Cargo.toml --check
    say "lint: clippy"
    cargo clippy -q --workspace --all-targets -- -D warnings
    say "lint: clippy for $WASM_TARGET"
    if [ "$WASM_TOOLCHAIN" = debian ] && [ ! -x /usr/bin/cargo-clippy ]; then
        die "clippy for Debian's Wasm toolchain is missing" "As root: apt-get install rust-web-clippy"
    fi
    wasm_cargo clippy "$WASM_TOOLCHAIN" -q -p llm-failsafe --lib -- -D warnings
}

# The code must compile with exactly the version in Cargo.toml: otherwise the stated minimum is only a guess.
lint_minimum_rust() {
    local minimum current toolchain
    minimum=$(minimum_rust)
    current=$(rustc_version rustc)
    if [ "$current" = "$minimum" ]; then
        say "lint: Rust $minimum is the minimum and the compiler in use"
        return
    fi
    toolchain=$(rustup_toolchain "$minimum")
    if [ -z "$toolchain" ]; then
        # Not an error in CI either: a newer compiler on the machine is no mistake of the change under test.
        skipped+=("NOT CHECKED: whether the code builds with Rust $minimum, the minimum in Cargo.toml. The compiler here is $current. With rustup: rustup toolchain install $minimum. Or raise rust-version.")
        return
    fi
    say "lint: compiling with Rust $minimum, the minimum"
    RUSTUP_TOOLCHAIN=$toolchain CARGO_TARGET_DIR=$TARGET_DIR/minimum-rust cargo check -q --locked --workspace --all-targets
}

lint_dependencies() {
    local deny log=$TOOLS/probe/advisories.log
    if ! deny=$(lint_tool cargo-deny); then
        skip "licences, duplicates and sources of dependencies" "cargo-deny is missing: cargo install --locked cargo-deny"
        return
    fi
    say "lint: dependencies"
    "$deny" --log-level warn --locked --workspace check -D warnings licenses bans sources
    # The database is in a Git repository that not every machine can reach, so CI does not insist on it.
    if bounded "$ADVISORIES_SECONDS" "$deny" --workspace fetch db >"$log" 2>&1; then
        "$deny" --log-level warn --locked --workspace check --disable-fetch advisories
    else
        skipped+=("NOT CHECKED: known vulnerabilities of dependencies. The RustSec database could not be fetched (${log#"$ROOT"/}).")
    fi
}

lint_shell() {
    local shellcheck
    if ! shellcheck=$(lint_tool shellcheck); then
        skip "shell scripts" "shellcheck is missing. On Debian or Ubuntu: apt-get install shellcheck. On macOS: brew install shellcheck"
        return
    fi
    say "lint: shell scripts"
    "$shellcheck" --external-sources scripts/*.sh cli/src/init/start.sh envoy/live/start.sh .ci/run
}

ADVISORIES_SECONDS=60

mkdir -p "$TOOLS/probe"
load_wasm_toolchain
lint_shell
lint_dependencies
lint_minimum_rust
lint_rust
for note in ${skipped[@]+"${skipped[@]}"}; do
    printf '\n%s\n' "$note" >&2
done
