#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS. The inputs are fuzz/seeds/<target> and what earlier runs found
# (fuzz/corpus/<target>). The first crash stops the run; its input is in fuzz/artifacts.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SECONDS_EACH=${FUZZ_SECONDS:-60}

have cargo-fuzz || die "cargo-fuzz is missing" "Install it: cargo install cargo-fuzz" \
    "It needs a nightly compiler: rustup toolchain install nightly"
[ -f fuzz/Cargo.toml ] || die "there are no fuzz targets (fuzz/Cargo.toml)"

# Sanitizer flags are unstable. A nightly compiler accepts them; a stable one needs RUSTC_BOOTSTRAP.
if have rustup && rustup toolchain list | grep -q '^nightly'; then
    export RUSTUP_TOOLCHAIN=nightly
else
    export RUSTC_BOOTSTRAP=1
fi

cargo fuzz list | while read -r target; do
    say "fuzz: $target for $SECONDS_EACH s"
    # The fuzzer writes new inputs to the first folder and only reads the others.
    folders=("fuzz/corpus/$target")
    mkdir -p "${folders[0]}"
    [ -d "fuzz/seeds/$target" ] && folders+=("fuzz/seeds/$target")
    cargo fuzz run "$target" "${folders[@]}" -- -max_total_time="$SECONDS_EACH" </dev/null
done
