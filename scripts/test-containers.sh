#!/usr/bin/env bash
# Runs docker-compose.yaml and the pod of deploy/kubernetes in real containers, with podman. It needs root.
# Nothing of it touches the machine's own containers, networks or ports: it has namespaces and a storage of its own.
# What is started ends with this script, however it ends.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

base=$TOOLS/containers/base.tar
envoy=${ENVOY_BIN:-$TOOLS/envoy/${ENVOY_VERSION:-$(cat ENVOY_VERSION)}/envoy}
prometheus=$TOOLS/prometheus/usr/bin/prometheus
[ -x "$prometheus" ] || prometheus=$(command -v prometheus) || die "Prometheus is missing" "Run: scripts/setup.sh prometheus"
[ "$(id -u)" -eq 0 ] || die "tests in containers need root" "Run: sudo make test-containers"
[ -f "$base" ] || die "the base of the images is missing" "Run: scripts/setup.sh containers"
[ -x "$envoy" ] || die "Envoy is missing" "Run: scripts/setup.sh envoy"
[ -f dist/llm_failsafe.wasm ] || die "the filter has not been built" "Run: make build"

cargo build -q -p llm-failsafe-cli

work=$(mktemp -d)
child=
# When `unshare` is killed, the kernel kills the first process of its namespace, and with it all others there. Then podman
# cannot remove its control groups. Groups that are in use cannot be removed.
trap '
    [ -z "$child" ] || kill -KILL "$child" 2>/dev/null || true
    wait
    rm -rf "$work"
    find /sys/fs/cgroup -depth -type d -path "*/libpod_parent*" -exec rmdir {} + 2>/dev/null || true
' EXIT
trap 'exit 130' INT TERM

# The hard limits of the machine bound what containers may have.
files=$(ulimit -Hn)
processes=$(ulimit -Hu)
[ "$files" = unlimited ] || [ "$files" -le 20000 ] || files=20000
[ "$processes" = unlimited ] || [ "$processes" -le 4096 ] || processes=4096
cat >"$work/containers.conf" <<CONF
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
static_dir = "$work/libpod"
tmp_dir = "$work/run/libpod"
volume_path = "$work/volumes"
[network]
network_backend = "netavark"
network_config_dir = "$work/networks"
[containers]
default_ulimits = ["nofile=$files:$files", "nproc=$processes:$processes"]
pids_limit = 0
CONF
cat >"$work/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$work/storage"
runroot = "$work/run/storage"
CONF

# podman waits until its helpers are gone for good, and catatonit sees to that as the first process of the namespace.
# Debian's Python has the library for YAML, because podman-compose needs it.
CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf \
    unshare --net --pid --mount --fork --kill-child --mount-proc --propagation private \
    catatonit -- /usr/bin/python3 scripts/containers/test.py "$work" "$base" "$envoy" "$prometheus" \
    "$TARGET_DIR/debug/llm-failsafe" &
child=$!
status=0
wait "$child" || status=$?
child=
exit "$status"
