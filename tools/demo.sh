#!/usr/bin/env bash
# demo.sh DIR - a real sale on the stack in DIR: 1,000 phones, 20,000 shoppers, and the proof.
#
# The report is written next to DIR, to demo/report.html and demo/report.json.  Exit status 0 only if all holds.  The stack
# stays up for trying out, unless KEEP=0 or CI=true.  `make demo` builds what it needs.
#   SHOPPERS CONNECTIONS STOCK SPREAD_MS HOLD_MS SEED change the sale.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=tools/lib.sh
. "$here/lib.sh"

run=${1:?the stack\'s directory}
mkdir -p "$run"
run=$(cd "$run" && pwd -P)
bin=${SECKILL_BIN:-$here/../build/bin}
out=$(dirname "$run")/demo
hold_ms=${HOLD_MS:-3000}
keep=${KEEP:-1}
if [[ ${CI:-} == true && -z ${KEEP:-} ]]; then
    keep=0
fi

finish() {
    local code=$?
    if [[ $keep == 0 ]]; then
        "$here/stack.sh" remove "$run" || code=1
    fi
    exit "$code"
}

try_next() {
    local token
    "$bin/seckillctl" sale open tablet --stock 50 --limit 2 --hold-ms 600000 >/dev/null
    token=$("$bin/seckillctl" token you --ttl 86400)
    cat <<TEXT
The stack is up, with a second sale, "tablet".  Three things to try:

  curl -s $SECKILL_URL/v1/items/tablet

  curl -s -H 'Prefer: wait=5' -H 'Content-Type: application/json' -d '{"item_id":"tablet"}' \\
    -H 'Authorization: Bearer $token' $SECKILL_URL/v1/orders

  curl -s $SECKILL_URL/metrics | grep ^seckill_

\`set -a; . ${run#"$PWD"/}/env; set +a\` sets up a shell for build/bin/seckillctl; \`make down\` stops everything.
TEXT
}

trap finish EXIT
# A sale is opened once: each demo has a log of its own.
"$here/stack.sh" remove "$run"
"$here/stack.sh" start "$run"
SECKILL_BIN=$bin "$here/daemons.sh" start "$run"
set -a
# shellcheck disable=SC1091
. "$run/env"
set +a
mkdir -p "$out"
"$bin/seckillctl" sale open phone --stock "${STOCK:-1000}" --limit 1 --hold-ms "$hold_ms"
"$bin/stampede" --item phone --limit 1 --shoppers "${SHOPPERS:-20000}" --connections "${CONNECTIONS:-2000}" \
    --spread-ms "${SPREAD_MS:-10000}" --settle-ms $((hold_ms + 1000)) --seed "${SEED:-1}" \
    --step 250ms --verify "$(printf %q "$bin/seckill-guardian") verify --json" \
    --report "$out/report.json" --html "$out/report.html"
echo "the whole report: ${out#"$PWD"/}/report.html to look at, report.json beside it for scripts"
if [[ $keep != 0 ]]; then
    try_next
fi
