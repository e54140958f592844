#!/usr/bin/env bash
# Runs the scenarios of streams on other versions of Envoy than the one that all tests run on, because what they rest on
# (holding, injecting, ending a stream) is what differs between versions; on all that are supported those of further attempts, too. Argument: `oldest`, or `all` that are supported.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Files of integration-tests/tests.
SCENARIOS=(gates response_model stream_failures stream_shapes streams timers transport usage)

case ${1:-} in
oldest) versions=$(oldest_envoy) ;;
all)
    versions=$(supported_envoys)
    # These take their time.
    SCENARIOS+=(quiet retries queue declined)
    ;;
*) die "unknown argument '${1:-}'" "Known: oldest, all" ;;
esac

if [ -n "${ENVOY_BIN:-}" ]; then
    say "test: ENVOY_BIN names the Envoy, so no other one is tried"
    exit
fi

pinned=${ENVOY_VERSION:-$(cat ENVOY_VERSION)}
failed=()
for version in $versions; do
    # All tests have run on that one.
    if [ "$1" = oldest ] && [ "$version" = "$pinned" ]; then continue; fi
    say "test: ${SCENARIOS[*]} on Envoy $version"
    ENVOY_VERSION=$version cargo test -q -p integration-tests --no-fail-fast "${SCENARIOS[@]/#/--test=}" ||
        failed+=("$version")
done
[ ${#failed[@]} -eq 0 ] || die "scenarios fail on Envoy ${failed[*]}"
