# shellcheck shell=bash
# lib.sh - what stack.sh and daemons.sh share: processes, ports, waiting, the env file.  Sourced.
#
# A stack is a directory.  Everything that runs on it has SECKILL_STACK=DIR in its environment,
# what we start has SECKILL_STACK_PART=NAME too; both can be read back from /proc, so a process
# is found without trusting a pid file that a crash left behind, and never by its name.
#
#   DIR/env       plain shell assignments for whoever uses the stack; made from env.d/*
#   DIR/ports     the ports this stack has reserved, kept as long as the directory
#   DIR/pid/NAME  DIR/log/NAME.log

# fd 9: the lock of one stack; 8: of the machine's port list or the jar cache.  start_process()
# closes them in what it starts, or a server would hold the lock for as long as it lives.

# Where mariadbd is; an ordinary user's path may lack it.
PATH=$PATH:/usr/sbin

say() { # progress, for people only
    if [[ -t 2 || -n ${VERBOSE:-} ]]; then
        printf '%s\n' "$*" >&2
    fi
}

complain() {
    printf '%s\n' "$*" >&2
}

die() {
    complain "$*"
    exit 1
}

now_ms() {
    local us=${EPOCHREALTIME/[.,]/}
    echo $((us / 1000))
}

# await SECONDS COMMAND...: 0 as soon as COMMAND succeeds, 1 when it has not in time.
await() {
    local deadline=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        (($(now_ms) < deadline)) || return 1
        sleep 0.05
    done
}

# Processes.

# has_env PID ASSIGNMENT...: PID runs (a zombie's environment is empty) and was started with them.
has_env() {
    local pid=$1 line
    shift
    for line in "$@"; do
        grep -qzxF -- "$line" "/proc/$pid/environ" 2>/dev/null || return 1
    done
}

# pid_of NAME: prints the pid of what start_process NAME started, fails if it does not run.
pid_of() {
    local pid
    pid=$(cat "$stack/pid/$1" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] || return 1
    has_env "$pid" "SECKILL_STACK=$stack" "SECKILL_STACK_PART=$1" || return 1
    echo "$pid"
}

runs() {
    pid_of "$1" >/dev/null
}

# pids_on_stack SERVERS: every process on this stack that is ours to stop, one a line: with yes the
# servers, with no everything else: programs from a build directory's bin/ that were started with
# this stack's env file, by us or by hand.  The environment alone would also name the shells and
# editors that run under a sourced env file.
pids_on_stack() {
    local file pid exe
    while read -r file; do
        pid=${file#/proc/}
        pid=${pid%/environ}
        [[ $pid != "$$" && $pid != "$BASHPID" ]] || continue
        if has_env "$pid" SECKILL_STACK_PART=kafka || has_env "$pid" SECKILL_STACK_PART=redis ||
            has_env "$pid" SECKILL_STACK_PART=mysql; then
            [[ $1 == no ]] || echo "$pid"
        elif [[ $1 == no ]]; then
            exe=$(readlink "/proc/$pid/exe") || continue
            case $exe in
            */bin/seckill-* | */bin/seckillctl | */bin/stampede | */bin/seckillctl\ * | */bin/stampede\ *)
                echo "$pid"
                ;;
            esac
        fi
    done < <(grep -lzxF -- "SECKILL_STACK=$stack" /proc/[0-9]*/environ 2>/dev/null)
}

none_left() { # SERVERS
    [[ -z $(pids_on_stack "$1") ]]
}

# stop_all SERVERS SECONDS [SIGNAL]: SIGNAL (TERM), and KILL for what is left after SECONDS.
stop_all() {
    local pids
    mapfile -t pids < <(pids_on_stack "$1")
    ((${#pids[@]} > 0)) || return 0
    kill -s "${3:-TERM}" "${pids[@]}" 2>/dev/null || true
    # A process stopped by SIGSTOP takes the signal only when it goes on.
    kill -s CONT "${pids[@]}" 2>/dev/null || true
    await "$2" none_left "$1" && return 0
    mapfile -t pids < <(pids_on_stack "$1")
    complain "did not stop in $2 s and was killed: $(for p in "${pids[@]}"; do cat "/proc/$p/comm"; done | xargs)"
    kill -s KILL "${pids[@]}" 2>/dev/null || true
    await 10 none_left "$1"
}

# start_process NAME COMMAND...: in the background, in a session of its own (ctrl-C in the terminal
# is for the caller), with no descriptor of ours: whoever waits for our output to end, or for our
# lock, must not wait for the server.
start_process() {
    local name=$1 fd
    shift
    mkdir -p "$stack/pid" "$stack/log"
    (
        for fd in "/proc/$BASHPID/fd"/*; do
            fd=${fd##*/}
            if ((fd > 2 && fd != 255)); then
                exec {fd}>&-
            fi
        done
        exec env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL "SECKILL_STACK=$stack" "SECKILL_STACK_PART=$name" \
            setsid "$@" </dev/null >>"$stack/log/$name.log" 2>&1
    ) &
    echo $! >"$stack/pid/$name"
}

# await_process NAME SECONDS COMMAND...: until COMMAND succeeds; fails, with the end of the log,
# when the process is gone or time is up.
await_process() {
    local name=$1 seconds=$2 deadline
    deadline=$(($(now_ms) + $2 * 1000))
    shift 2
    while :; do
        # Asked first: a stranger on our port may answer in the place of what died.
        if ! is_starting "$name"; then
            complain "$name ended while it started; the end of $stack/log/$name.log:"
            break
        fi
        if "$@" && runs "$name"; then
            return 0
        fi
        if (($(now_ms) >= deadline)); then
            complain "$name was not ready within $seconds s; the end of $stack/log/$name.log:"
            break
        fi
        sleep 0.05
    done
    tail -n 20 "$stack/log/$name.log" >&2
    return 1
}

# Between fork and exec the environment is still ours, so only a missing process is gone.
is_starting() {
    local pid
    pid=$(cat "$stack/pid/$1") && kill -0 "$pid" 2>/dev/null &&
        ! grep -q '^State:.*Z' "/proc/$pid/status" 2>/dev/null
}

# Ports.  Two stacks that start at once choose under one lock; a port stays reserved, also while
# its server is down, as long as the stack's own file names it.

listening() {
    local line hex
    grep -h ' 0A ' /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r _ line _; do
        hex=${line##*:}
        echo $((16#$hex))
    done
}

reserved() {
    local port owner
    for port in "$1"/[0-9]*; do
        [[ -e $port ]] || continue
        owner=$(<"$port")
        if grep -qs "=${port##*/}\$" "$owner"; then
            echo "${port##*/}"
        else
            rm -f "$port"
        fi
    done
}

# reserve_ports NAME...: gives each NAME that has none a line NAME=PORT in $stack/ports.
reserve_ports() {
    local book low=20000 high name port taken
    book=${TMPDIR:-/tmp}/seckill-ports.$(id -u)
    # Below the range for outgoing connections, where a client may hold any port.
    read -r high _ </proc/sys/net/ipv4/ip_local_port_range
    ((high > low + 1000)) || high=32768
    mkdir -m 700 "$book" 2>/dev/null || true
    [[ -d $book && -O $book && ! -L $book ]] || die "$book is not ours; set TMPDIR to a directory of your own"
    (
        flock 8
        taken=$'\n'$(listening)$'\n'$(reserved "$book")$'\n'
        for name in "$@"; do
            ! grep -qs "^$name=" "$stack/ports" || continue
            port=$((low + (RANDOM * 32768 + RANDOM) % (high - low)))
            while [[ $taken == *$'\n'"$port"$'\n'* ]]; do
                port=$((low + (port + 1 - low) % (high - low)))
            done
            echo "$name=$port" >>"$stack/ports"
            echo "$stack/ports" >"$book/$port"
            taken+=$port$'\n'
        done
    ) 8>"$book/lock"
}

port_of() {
    sed -n "s/^$1=//p" "$stack/ports"
}

# The env file.

# assign NAME VALUE: one assignment that a shell reads back as it is.
assign() {
    printf '%s=%q\n' "$1" "$2"
}

# write_env PIECE: takes env.d/PIECE from stdin (empty: removes it) and makes the env file anew.
# It holds passwords, and is replaced as a whole: a reader never sees half of it.
write_env() (
    umask 077
    mkdir -p "$stack/env.d"
    cat >"$stack/env.d/.$1"
    if [[ -s $stack/env.d/.$1 ]]; then
        mv "$stack/env.d/.$1" "$stack/env.d/$1"
    else
        rm -f "$stack/env.d/.$1" "$stack/env.d/$1"
    fi
    cat "$stack/env.d"/* >"$stack/.env" 2>/dev/null || true
    mv "$stack/.env" "$stack/env"
)

random_hex() { # BYTES
    od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'
}

# open_stack DIR: sets $stack (absolute) and holds its lock until we exit.
open_stack() {
    mkdir -p "$1"
    stack=$(cd "$1" && pwd -P)
    exec 9>"$stack/.lock"
    flock -w 300 9 || die "another command has been busy with $stack for 5 minutes"
}
