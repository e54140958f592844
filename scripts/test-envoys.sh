#!/usr/bin/env bash
# Runs the stream scenarios on other supported versions of Envoy. All other tests run on the pinned version only. Streams
# depend on how Envoy holds, injects and ends a response, and that differs between versions.
# Argument: `oldest`, or `all` supported versions. `all` also runs the scenarios of retries, queues and limits.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Modules of the test binary: files of integration-tests/tests.
SCENARIOS=(ends gates response_model stream_failures stream_shapes streams timers transport usage)

case ${1:-} in
oldest) versions=$(oldest_envoy) ;;
all)
    versions=$(supported_envoys)
    # These take long.
    SCENARIOS+=(clocks live_changes upgrade probes quiet retries queue declined admissions impatient translation)
    ;;
*) die "unknown argument '${1:-}'" "Known: oldest, all" ;;
esac

# A filter that matches no test would pass.
for module in "${SCENARIOS[@]}"; do
    [ -f "integration-tests/tests/$module.rs" ] || die "integration-tests/tests/$module.rs does not exist"
done

if [ -n "${ENVOY_BIN:-}" ]; then
    say "test: ENVOY_BIN names the Envoy, so no other one is tried"
    exit
fi

pinned=${ENVOY_VERSION:-$(cat ENVOY_VERSION)}
failed=()
for version in $versions; do
    # `make test` has already run all tests on the pinned version.
    if [ "$1" = oldest ] && [ "$version" = "$pinned" ]; then continue; fi
    say "test: ${SCENARIOS[*]} on Envoy $version"
    ENVOY_VERSION=$version cargo test -q -p integration-tests --test scenarios -- "${SCENARIOS[@]/%/::}" ||
        failed+=("$version")
done
[ ${#failed[@]} -eq 0 ] || die "scenarios fail on Envoy ${failed[*]}"
