#!/usr/bin/env bash
# Runs the tests with the real control planes (integration-tests/tests/mesh). They have fixed ports, so they get a network of
# their own, which only has a loopback interface. Arguments go to the test program, such as `istio::`.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

command -v unshare >/dev/null && command -v ip >/dev/null ||
    die "unshare or ip is missing" "On Debian or Ubuntu: apt-get install util-linux iproute2"
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(--map-root-user)

cargo test -q -p integration-tests --test mesh --no-run
# The pods of Istio have the address 10.1.1.1.
# shellcheck disable=SC2016
LLM_FAILSAFE_MESH_NETWORK=own unshare "${as_root[@]}" --net --mount bash -c '
    set -eu
    ip link set lo up
    ip addr add 10.1.1.1/32 dev lo
    exec cargo test --offline -p integration-tests --test mesh -- "$@"' test-mesh "$@"
