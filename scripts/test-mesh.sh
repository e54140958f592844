#!/usr/bin/env bash
# Runs the tests with the real control planes (integration-tests/tests/mesh). They have fixed ports, so they get a network of
# their own, in which nothing else is. Arguments go to the test program, such as `istio::`.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if ! have unshare || ! have ip; then
    die "unshare or ip is missing" "On Debian or Ubuntu: apt-get install util-linux iproute2"
fi
[ "$(id -u)" -eq 0 ] || die "root is needed: the tests make a network, and redirect connections in it as Istio does"

if ! have openssl || ! have iptables-save; then
    die "openssl or iptables is missing" "On Debian or Ubuntu: apt-get install openssl iptables"
fi

cargo test -q -p integration-tests --test mesh --no-run
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A provider of the tests has this host, and a certificate that everyone in the network trusts.
printf '%s\n' '127.0.0.1 localhost api.openai.com' >"$work/hosts"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout "$work/key.pem" -out "$work/certificate.pem" \
    -subj /CN=api.openai.com -addext subjectAltName=DNS:api.openai.com 2>"$work/openssl.log" || die "openssl: $(cat "$work/openssl.log")"
# The pods of Istio have the address 10.1.1.1. What they send elsewhere has to have a way out before it can be redirected.
# shellcheck disable=SC2016
LLM_FAILSAFE_MESH_NETWORK=$work unshare --net --mount bash -c '
    set -eu
    mount --bind "$LLM_FAILSAFE_MESH_NETWORK/hosts" /etc/hosts
    mount --bind "$LLM_FAILSAFE_MESH_NETWORK/certificate.pem" /etc/ssl/certs/ca-certificates.crt
    ip link set lo up
    ip link add pod type veth peer name nowhere
    ip addr add 10.1.1.1/24 dev pod
    ip link set pod up
    ip link set nowhere up
    ip route add default dev pod
    exec cargo test --offline -p integration-tests --test mesh -- "$@"' test-mesh "$@"
