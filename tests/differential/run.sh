#!/usr/bin/env bash
# run.sh PROGRAM [ARGUMENT...]: runs PROGRAM with a Redis of its own (REDIS_SOCKET), which it removes again.
set -euo pipefail

dir=$(mktemp -d "${TMPDIR:-/tmp}/differential.XXXXXX")
redis=
finish() {
    if [[ -n $redis ]]; then
        kill "$redis" 2>/dev/null || true
        wait "$redis" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap finish EXIT

redis-server --port 0 --unixsocket "$dir/redis.sock" --dir "$dir" --save '' --appendonly no \
    >"$dir/log" 2>&1 &
redis=$!
deadline=$((SECONDS + 10))
until [[ $(redis-cli -s "$dir/redis.sock" ping 2>&1) == PONG ]]; do
    if ((SECONDS >= deadline)) || ! kill -0 "$redis" 2>/dev/null; then
        echo "run.sh: redis-server did not answer within 10 s:" >&2
        tail -n 20 "$dir/log" >&2
        exit 1
    fi
    sleep 0.05
done
REDIS_SOCKET=$dir/redis.sock "$@"
