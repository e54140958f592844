#!/usr/bin/env bash
# Runs all tests. Some tests need tools that are not available on every machine: these tests are skipped, and the script
# lists them at the end.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh chromium prometheus compose node kubernetes
missing=()
for note in "$TOOLS"/missing/*; do
    [ -f "$note" ] && missing+=("$(basename "$note")")
done

# A test compares its host calls with the filter's.
scripts/build-floor.sh

# With the whole workspace, cargo builds the command-line tool, too. By itself it would be built again, with dependencies
# that have fewer features.
status=0
LLM_FAILSAFE_PROGRAM=$TARGET_DIR/debug/llm-failsafe LLM_FAILSAFE_WITHOUT="${missing[*]-}" cargo test --workspace --no-fail-fast || status=$?

for name in ${missing[@]+"${missing[@]}"}; do
    printf '\n%s\n' "NOT TESTED: tests that need $name, which is not installed. To install it: $(cat "$TOOLS/missing/$name")" >&2
done
exit "$status"
