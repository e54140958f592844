#!/usr/bin/env bash
# Starts Envoy, and ends it without cutting requests: the entry point of a container or a service. It needs bash and
# nothing else that Envoy's image does not have. Arguments go to Envoy.
#
# After SIGTERM or SIGINT:
#   1. Readiness fails (`/ready` of the listener `probes`), and responses ask clients to close their connections.
#   2. For at least DRAIN_GRACE_S seconds, and about one more at most, new connections are still served, until every load
#      balancer has noticed.
#   3. Then listeners with `traffic_direction: INBOUND` accept no new connection.
#   4. As soon as no request is under way, or at most DRAIN_LIMIT_S seconds after the signal, Envoy ends.
# A second signal ends Envoy at once. Whoever sends the signal must wait longer than DRAIN_LIMIT_S before SIGKILL.
#   DRAIN_GRACE_S        default 5
#   DRAIN_LIMIT_S        default 60
#   ENVOY                Envoy, if it is not in the PATH
#   ADMIN_ADDRESS_FILE   where Envoy writes the address of its admin interface; by default a new temporary file
set -u
grace=${DRAIN_GRACE_S:-5}
limit=${DRAIN_LIMIT_S:-60}
for number in "$grace" "$limit"; do
    case $number in
    '' | *[!0-9]*)
        echo "entrypoint: DRAIN_GRACE_S and DRAIN_LIMIT_S must be whole numbers of seconds, not '$number'" >&2
        exit 2
        ;;
    esac
done
file=${ADMIN_ADDRESS_FILE:-$(mktemp)} || exit 1

say() {
    echo "entrypoint: $*" >&2
}

# admin METHOD PATH: prints the response of Envoy's admin interface.
admin() {
    local address host status
    address=$(<"$file")
    host=${address%:*}
    host=${host#[}
    host=${host%]}
    {
        exec {connection}<>"/dev/tcp/$host/${address##*:}"
    } 2>/dev/null || return 1
    printf '%s %s HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: 0\r\n\r\n' "$1" "$2" >&"$connection"
    cat <&"$connection"
    status=$?
    exec {connection}>&-
    return $status
}

# Prints how many requests of clients are under way. The inner listener has the same requests once more.
under_way() {
    local line sum=0 answer
    answer=$(admin GET '/stats?filter=%5C.downstream_rq_active$') || return 1
    while read -r line; do
        line=${line%$'\r'}
        case $line in
        http.admin.* | http.inner.* | http.probes.*) ;;
        http.*.downstream_rq_active:\ *) sum=$((sum + ${line##*: })) ;;
        esac
    done <<<"$answer"
    echo "$sum"
}

signals=0
trap 'signals=$((signals + 1))' TERM INT
"${ENVOY:-envoy}" "$@" --admin-address-path "$file" &
envoy=$!

runs() {
    kill -0 "$envoy" 2>/dev/null
}

# Envoy may end by itself. A signal interrupts the wait.
code=0
while [ "$signals" -eq 0 ]; do
    wait "$envoy"
    code=$?
    runs || break
done
if ! runs; then
    exit "$code"
fi

SECONDS=0
left=unknown
if admin POST /healthcheck/fail >/dev/null; then
    say "readiness fails now; requests have $limit s to finish"
    accepts=yes
    # SECONDS grows when the clock's second does, so the first one may be short. Only beyond this has the grace passed.
    served_until=$((SECONDS + 10#$grace))
    while runs && [ "$signals" -eq 1 ] && [ "$SECONDS" -lt "$limit" ]; do
        left=$(under_way) || left=unknown
        if [ "$accepts" = no ] && [ "$left" = 0 ]; then
            break
        fi
        # Envoy ends after a later look at the earliest, because the request of the last connection may not have come yet.
        if [ "$accepts" = yes ] && [ "$SECONDS" -gt "$served_until" ]; then
            admin POST '/drain_listeners?inboundonly' >/dev/null
            accepts=no
        fi
        sleep 0.1
    done
    if [ "$left" = 0 ]; then
        say "every request has finished after $SECONDS s"
    else
        say "requests that Envoy's end cuts after $SECONDS s: $left"
    fi
else
    say "the admin interface does not answer, so requests are cut"
fi
kill -TERM "$envoy" 2>/dev/null
while runs; do
    wait "$envoy"
    code=$?
done
exit "$code"
