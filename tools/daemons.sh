#!/usr/bin/env bash
# daemons.sh - the daemons on a stack that tools/stack.sh started.
#
#   daemons.sh start DIR [NAME...]       starts what does not run, returns when all are ready
#   daemons.sh stop DIR [NAME...]        without names: all of them, also those started by hand
#   daemons.sh kill DIR NAME [SIGNAL]    SIGNAL: KILL
#   daemons.sh status DIR                exit 0 when all that were started run, 3 when not
#
# NAME: producer, matcher, guardian (the default is one of each); matcher-2, or any other suffix,
# is one more of the kind.  SECKILL_BIN names the directory of the programs (build/bin).  The first
# start makes the topics with their genesis and the schema.  Settings come from DIR/env, others from
# the caller's SECKILL_ variables; logs go to DIR/log/NAME.log.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=tools/lib.sh
. "$here/lib.sh"

bin=${SECKILL_BIN:-$here/../build/bin}
deadline_s=${STACK_DEADLINE_S:-120}

# What the caller exported beside that (a rate limit, a timeout) reaches the daemons as it is.
load_env() {
    [[ -e $stack/env.d/10-stack ]] ||
        die "$stack: there is no stack; tools/stack.sh start $stack makes one"
    set -a
    # shellcheck disable=SC1091
    . "$stack/env.d/10-stack"
    set +a
}

program() { # NAME
    echo "$bin/seckill-${1%%-*}"
}

need_programs() { # NAME...
    local name
    for name in "$@"; do
        case ${name%%-*} in
        producer | matcher | guardian) ;;
        *) die "which daemon?  producer, matcher or guardian, with any -SUFFIX; not \"$name\"" ;;
        esac
        [[ -x $(program "$name") ]] || die "$(program "$name") is not there; \`make\` builds it"
    done
}

# prepare STEP COMMAND...: its output is shown only if it fails.
prepare() {
    local log=$stack/log/$1.log step=$1
    shift
    if ! "$@" >"$log" 2>&1 </dev/null; then
        complain "$step failed: $*; the end of $log:"
        tail -n 20 "$log" >&2
        return 1
    fi
}

prepare_stores() {
    local topics
    prepare topics "$bin/seckillctl" topics create "--timeout=${deadline_s}s" &
    topics=$!
    prepare migrate "$bin/seckill-guardian" migrate || { wait "$topics" || true; return 1; }
    wait "$topics"
}

# Where NAME answers /readyz: the producer at its door, the others at their metrics port.
address_of() { # NAME
    echo "127.0.0.1:$(port_of "$1")"
}

is_ready() { # NAME
    curl -fsS --noproxy '*' --max-time 2 -o /dev/null "http://$(address_of "$1")/readyz" 2>/dev/null
}

start_daemon() { # NAME
    case ${1%%-*} in
    producer) start_process "$1" env "SECKILL_LISTEN=$(address_of "$1")" "$(program "$1")" ;;
    *) start_process "$1" env "SECKILL_METRICS_LISTEN=$(address_of "$1")" "$(program "$1")" ;;
    esac
}

# Rebuilt since it was started: the link removed the old program.
is_outdated() { # NAME
    local pid
    pid=$(pid_of "$1") && [[ $(readlink "/proc/$pid/exe") == *' (deleted)' ]]
}

daemon_gone() { # NAME
    ! runs "$1"
}

stop_daemon() { # NAME SIGNAL
    local pid
    pid=$(pid_of "$1") || return 0
    kill -s "$2" "$pid" 2>/dev/null || return 0
    kill -s CONT "$pid" 2>/dev/null || true
    await 20 daemon_gone "$1" && return 0
    complain "$1 did not end within 20 s of SIG$2 and was killed"
    kill -s KILL "$pid" 2>/dev/null || return 0
    await 10 daemon_gone "$1"
}

publish_env() {
    local name pid
    {
        for name in $(names_started); do
            pid=$(pid_of "$name") || continue
            if [[ $name == producer ]]; then
                assign SECKILL_URL "http://$(address_of producer)"
            fi
            assign "$(tr a-z- A-Z_ <<<"$name")_PID" "$pid"
        done
    } | write_env 20-daemons
}

names_started() {
    local file
    for file in "$stack/pid"/{producer,matcher,guardian}*; do
        [[ ! -e $file ]] || echo "${file##*/}"
    done
}

start_daemons() { # NAME...
    local name failed=0 started=()
    need_programs "$@"
    load_env
    for name in "$@"; do
        if is_outdated "$name"; then
            say "$name: was built anew, so it is restarted"
            stop_daemon "$name" TERM
        fi
        runs "$name" || started+=("$name")
    done
    ((${#started[@]} > 0)) || return 0
    reserve_ports "${started[@]}"
    prepare_stores || return 1
    for name in "${started[@]}"; do
        start_daemon "$name"
    done
    for name in "${started[@]}"; do
        if await_process "$name" "$deadline_s" is_ready "$name"; then
            say "$name: ready"
        else
            failed=1
            break
        fi
    done
    if ((failed)); then
        for name in "${started[@]}"; do
            stop_daemon "$name" TERM
            rm -f "$stack/pid/$name"
        done
    fi
    publish_env
    return "$failed"
}

stop_daemons() { # NAME...
    local name started jobs=()
    if (($# == 0)); then
        stop_all no 20
        mapfile -t started < <(names_started)
        set -- "${started[@]}"
    fi
    for name in "$@"; do
        stop_daemon "$name" TERM &
        jobs+=($!)
    done
    for name in "${jobs[@]}"; do
        wait "$name"
    done
    for name in "$@"; do
        rm -f "$stack/pid/$name"
    done
    publish_env
}

show_status() {
    local name pid rc=0
    for name in $(names_started); do
        if pid=$(pid_of "$name"); then
            echo "$name running pid $pid at $(address_of "$name")"
        else
            echo "$name ended"
            rc=3
        fi
    done
    return "$rc"
}

main() {
    local verb=${1:-} signal
    if (($# < 2)) || [[ ! -d $2 && $verb != start ]]; then
        sed -n '2,/^set -euo/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
        exit 2
    fi
    umask 077
    open_stack "$2"
    shift 2
    case $verb in
    start)
        (($# > 0)) || set -- producer matcher guardian
        start_daemons "$@"
        ;;
    stop)
        stop_daemons "$@"
        ;;
    kill)
        need_programs "${1:?NAME}"
        signal=${2:-KILL}
        signal=${signal#SIG}
        case $signal in
        KILL | TERM | INT | QUIT | 9 | 15) stop_daemon "$1" "$signal" ;;
        *) kill -s "$signal" "$(pid_of "$1")" ;;
        esac
        publish_env
        ;;
    status)
        show_status
        ;;
    *)
        die "daemons.sh: no verb \"$verb\"; there are: start stop kill status"
        ;;
    esac
}

main "$@"
