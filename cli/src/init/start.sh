#!/bin/sh
# Checks the configuration, then starts Envoy. With a bad configuration Envoy would start and answer every request
# with 500, so this script does not start it then.
#   LLM_FAILSAFE   the program llm-failsafe, if it is not in the PATH
#   ENVOY          Envoy, if it is not in the PATH
# Arguments go to Envoy. After SIGTERM requests finish first: entrypoint.sh says how.
set -eu
cd "$(dirname "$0")"
without=$(grep -ls "WRITE THE KEY HERE" keys/*.yaml || true)
if [ -n "$without" ]; then
    echo "These files have no key yet:" >&2
    echo "$without" >&2
    exit 1
fi
"${LLM_FAILSAFE:-llm-failsafe}" check --config envoy.yaml
# Envoy keeps what nobody reads from its output, without a bound. So a program reads it and drops what is too much. It
# ends when Envoy ends. Without a folder for the pipe, Envoy writes directly.
if pipe=$(mktemp -d 2>/dev/null) && mkfifo "$pipe/output"; then
    (trap '' HUP INT TERM && exec "${LLM_FAILSAFE:-llm-failsafe}" log-pipe) <"$pipe/output" &
    exec >"$pipe/output"
    rm -r "$pipe"
fi
exec bash entrypoint.sh -c envoy.yaml "$@"
