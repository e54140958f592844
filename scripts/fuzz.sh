#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS each, from the inputs in fuzz/seeds/<target> and those that earlier runs found
# (fuzz/corpus/<target>). The first crash stops the run and its input stays in fuzz/artifacts.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SECONDS_EACH=${FUZZ_SECONDS:-60}

have cargo-fuzz || die "cargo-fuzz is missing" "Install it: cargo install cargo-fuzz" \
    "It needs a nightly compiler: rustup toolchain install nightly"
[ -f fuzz/Cargo.toml ] || die "there are no fuzz targets (fuzz/Cargo.toml)"

# Sanitizer flags are unstable: a nightly compiler takes them, a stable one only when told that it may.
if have rustup && rustup toolchain list | grep -q '^nightly'; then
    export RUSTUP_TOOLCHAIN=nightly
else
    export RUSTC_BOOTSTRAP=1
fi

cargo fuzz list | while read -r target; do
    say "fuzz: $target for $SECONDS_EACH s"
    # New inputs go into the first folder; the seeds are only read.
    folders=("fuzz/corpus/$target")
    mkdir -p "${folders[0]}"
    [ -d "fuzz/seeds/$target" ] && folders+=("fuzz/seeds/$target")
    cargo fuzz run "$target" "${folders[@]}" -- -max_total_time="$SECONDS_EACH" </dev/null
done
