#!/usr/bin/env bash
# All tests. What some of them drive cannot be had on every machine: those are left out there, and this says so at the end.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh chromium prometheus compose
missing=()
for note in "$TOOLS"/missing/*; do
    [ -f "$note" ] && missing+=("$(basename "$note")")
done

status=0
LLM_FAILSAFE_WITHOUT="${missing[*]-}" cargo test --workspace --no-fail-fast || status=$?

for name in ${missing[@]+"${missing[@]}"}; do
    printf '\n%s\n' "NOT TESTED: what needs $name, which is not here. To have it: $(cat "$TOOLS/missing/$name")" >&2
done
exit "$status"
