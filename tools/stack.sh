#!/usr/bin/env bash
# stack.sh - a private Apache Kafka, Redis and MariaDB in one directory.
#
#   stack.sh start DIR                   starts what does not run; writes DIR/env
#   stack.sh stop DIR                    stops all that runs on the stack; data stays
#   stack.sh remove DIR                  the same, and throws the data away; logs stay
#   stack.sh status DIR                  exit 0 when all run, 3 when not
#   stack.sh kill DIR PART [SIGNAL]      PART: kafka, redis or mysql; SIGNAL: KILL
#   stack.sh restart DIR PART            same ports, same data, perhaps another pid
#   stack.sh port DIR NAME               a port kept for NAME as long as DIR exists
#
# A server of your own is used in the place of ours when start finds its address:
#   KAFKA_BROKERS=host:port[,...]
#   REDIS_HOST=host [REDIS_PORT=6379 REDIS_PASSWORD=...]
#   MYSQL_HOST=host MYSQL_PASSWORD=... [MYSQL_PORT=3306 MYSQL_USER=seckill MYSQL_DATABASE=seckill]
# KAFKA_JARS names a directory with Kafka's jars (or where they shall go).
# KAFKA_LINKS="NAME=PORT..." gives our Kafka one more listener per NAME (a port kept as kafka_NAME) that
# tells its clients to come to PORT, where the caller has a proxy for it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=tools/lib.sh
. "$here/lib.sh"

parts=(kafka redis mysql)
deadline_s=${STACK_DEADLINE_S:-180}

# Whose servers.  $stack/settings holds the addresses that start was given; a part is external if its
# address is there.

is_external() { # PART
    case $1 in
    kafka) [[ -n ${own_kafka:-} ]] ;;
    redis) [[ -n ${own_redis:-} ]] ;;
    mysql) [[ -n ${own_mysql:-} ]] ;;
    esac
}

# With a stack's env file sourced, its addresses are in our environment without anybody having
# named a server; SECKILL_STACK gives them away, and SECKILL_EXTERNAL says which were named once.
named_by_user() { # PART VALUE
    [[ -n $2 ]] && { [[ -z ${SECKILL_STACK:-} ]] || [[ " ${SECKILL_EXTERNAL:-} " == *" $1 "* ]]; }
}

note_settings() {
    {
        assign partitions "${SECKILL_PARTITIONS:-4}"
        assign kafka_links "${KAFKA_LINKS:-}"
        if named_by_user kafka "${KAFKA_BROKERS:-}"; then
            assign own_kafka "$KAFKA_BROKERS"
        fi
        if named_by_user redis "${REDIS_HOST:-}"; then
            assign own_redis "$REDIS_HOST"
            assign own_redis_port "${REDIS_PORT:-6379}"
            assign own_redis_password "${REDIS_PASSWORD:-}"
        fi
        if named_by_user mysql "${MYSQL_HOST:-}"; then
            [[ -n ${MYSQL_PASSWORD:-} ]] || die "MYSQL_HOST is set, so MYSQL_PASSWORD is needed too"
            assign own_mysql "$MYSQL_HOST"
            assign own_mysql_port "${MYSQL_PORT:-3306}"
            assign own_mysql_user "${MYSQL_USER:-seckill}"
            assign own_mysql_password "$MYSQL_PASSWORD"
            assign own_mysql_database "${MYSQL_DATABASE:-seckill}"
        fi
    } >"$stack/settings"
    load_state
    local part
    for part in "${parts[@]}"; do
        if is_external "$part" && runs "$part"; then
            die "$stack already runs a $part of its own; stop it first (tools/stack.sh stop $stack)"
        fi
    done
}

load_state() {
    partitions=4
    kafka_links=
    unset own_kafka own_redis own_mysql
    # shellcheck disable=SC1091
    [[ ! -e $stack/settings ]] || . "$stack/settings"
    if [[ ! -e $stack/secrets ]]; then
        {
            assign mysql_password "$(random_hex 16)"
            assign token_secret "$(random_hex 32)"
        } >"$stack/secrets"
    fi
    # shellcheck disable=SC1091
    . "$stack/secrets"
    # What the rest of this script talks to, ours or not.
    brokers=${own_kafka:-127.0.0.1:$(port_or_none kafka)}
    redis_host=${own_redis:-127.0.0.1}
    redis_port=${own_redis:+$own_redis_port}
    redis_port=${redis_port:-$(port_or_none redis)}
    mysql_host=${own_mysql:-127.0.0.1}
    mysql_port=${own_mysql:+$own_mysql_port}
    mysql_port=${mysql_port:-$(port_or_none mysql)}
    mysql_user=${own_mysql:+$own_mysql_user}
    mysql_user=${mysql_user:-seckill}
    mysql_database=${own_mysql:+$own_mysql_database}
    mysql_database=${mysql_database:-seckill}
    mysql_password=${own_mysql_password:-$mysql_password}
}

port_or_none() {
    [[ ! -e $stack/ports ]] || port_of "$1"
}

publish_env() {
    local part external=()
    [[ -e $stack/settings ]] || return 0
    for part in "${parts[@]}"; do
        ! is_external "$part" || external+=("$part")
    done
    {
        assign SECKILL_STACK "$stack"
        [[ ${#external[@]} == 0 ]] || assign SECKILL_EXTERNAL "${external[*]}"
        assign KAFKA_BROKERS "$brokers"
        assign REDIS_HOST "$redis_host"
        assign REDIS_PORT "$redis_port"
        [[ -z ${own_redis_password:-} ]] || assign REDIS_PASSWORD "$own_redis_password"
        assign MYSQL_HOST "$mysql_host"
        assign MYSQL_PORT "$mysql_port"
        assign MYSQL_USER "$mysql_user"
        assign MYSQL_PASSWORD "$mysql_password"
        assign MYSQL_DATABASE "$mysql_database"
        # One broker; and ports that the next process may not share are chosen by the kernel.
        assign SECKILL_REPLICAS_MIN 1
        assign SECKILL_PARTITIONS "$partitions"
        assign SECKILL_LISTEN 127.0.0.1:0
        assign SECKILL_METRICS_LISTEN 127.0.0.1:0
        assign SECKILL_TOKEN_SECRET "${token_secret:?}"
        for part in "${parts[@]}"; do
            ! is_external "$part" || continue
            echo "${part^^}_PID=$(pid_of "$part" || true)"
        done
    } | write_env 10-stack
}

# What to do instead, at the end of every message about a part that cannot be had.
instead() { # PART
    case $1 in
    kafka) echo "Or use a Kafka of your own: set KAFKA_BROKERS=host:port and repeat the command." ;;
    redis) echo "Or use a Redis of your own: set REDIS_HOST and REDIS_PORT and repeat the command." ;;
    mysql) echo "Or use a MySQL of your own: set MYSQL_HOST, MYSQL_PORT, MYSQL_USER, MYSQL_PASSWORD," \
        "MYSQL_DATABASE and repeat the command." ;;
    esac
}

need() { # PART PROGRAM PACKAGE
    command -v -- "$2" >/dev/null && return 0
    complain "$1 cannot be started: there is no $2 here (Debian package $3; tools/deps.sh servers installs it)"
    return 1
}

# Apache Kafka.

kafka_jars() {
    local version
    version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/kafka/pom.xml")
    echo "${KAFKA_JARS:-$here/../build/cache/kafka/$version}"
}

have_jars() { # DIR
    compgen -G "$1/kafka_2.13-*.jar" >/dev/null && compgen -G "$1/log4j-core-*.jar" >/dev/null
}

# Fetched beside the place and moved there whole, so that what is there is complete.
fetch_jars() { # DIR
    local log=$stack/log/maven.log fetched=$1.fetching
    ! have_jars "$1" || return 0
    need kafka mvn maven || return 1
    mkdir -p "$(dirname "$1")" "$stack/log"
    (
        flock 8
        ! have_jars "$1" || exit 0
        say "kafka: fetching the broker's jars with Maven (54 MB, once)"
        rm -rf "$fetched"
        if ! { mvn -q -B -f "$here/kafka/pom.xml" dependency:copy-dependencies \
            -DoutputDirectory="$fetched" -DincludeScope=runtime >"$log" 2>&1 </dev/null &&
            have_jars "$fetched"; }; then
            complain "kafka's jars cannot be fetched with Maven; the end of $log:"
            tail -n 15 "$log" >&2
            complain "KAFKA_JARS=DIR names a directory that has them."
            exit 1
        fi
        rm -rf "$1"
        mv "$fetched" "$1"
    ) 8>"$1.lock"
}

kafka_properties() {
    local port controller link listeners='' advertised='' map=''
    port=$(port_of kafka)
    controller=$(port_of kafka_controller)
    for link in $kafka_links; do
        listeners+=",${link%=*}://127.0.0.1:$(port_of "kafka_${link%=*}")"
        advertised+=",${link%=*}://127.0.0.1:${link#*=}"
        map+=",${link%=*}:PLAINTEXT"
    done
    cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller$listeners
advertised.listeners=PLAINTEXT://127.0.0.1:$port$advertised
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT$map
log.dirs=$stack/kafka/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# Tests kill members of the groups, and would wait 6 s for each.
group.min.session.timeout.ms=1000
# A broker killed with -9 waits at its next start for its own old session to end: 9 s by default.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# Where there are more brokers: who comes back leads again.
leader.imbalance.check.interval.seconds=5
log.cleaner.dedupe.buffer.size=2097152
num.network.threads=2
num.io.threads=2
PROPERTIES
}

# The full compiler costs more in its first minute than it gives back.
java_command() {
    java=(java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Djava.awt.headless=true
        "-Dlog4j2.configurationFile=file:$here/kafka/log4j2.properties"
        "-Dkafka.logs.dir=$stack/kafka" -cp "$(kafka_jars)/*")
}

prepare_kafka() {
    local id
    need kafka java openjdk-17-jre-headless && need kafka kcat kcat || return 1
    fetch_jars "$(kafka_jars)" || return 1
    mkdir -p "$stack/kafka"
    kafka_properties >"$stack/kafka/server.properties"
    [[ ! -e $stack/kafka/formatted ]] || return 0
    rm -rf "$stack/kafka/data"
    # A leading dash would be read as an option.
    id=A$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c2-22)
    id=${id%?}A
    java_command
    if ! "${java[@]}" kafka.tools.StorageTool format -t "$id" -c "$stack/kafka/server.properties" \
        >"$stack/log/kafka.log" 2>&1; then
        complain "kafka's data directory cannot be formatted; the end of $stack/log/kafka.log:"
        tail -n 20 "$stack/log/kafka.log" >&2
        return 1
    fi
    touch "$stack/kafka/formatted"
}

launch_kafka() {
    java_command
    start_process kafka "${java[@]}" -Xms128m "-Xmx${KAFKA_HEAP:-384m}" -XX:+ExitOnOutOfMemoryError \
        kafka.Kafka "$stack/kafka/server.properties"
}

# Metadata without a broker in it comes from one that is still fenced.
ready_kafka() {
    timeout 5 kcat -L -b "$brokers" -m 2 2>/dev/null | grep -q '^ *broker [0-9]'
}

# Redis.  Each question has its own deadline: on a taken port a stranger may accept and stay silent.

prepare_redis() {
    need redis redis-server redis-server && need redis redis-cli redis-tools || return 1
    mkdir -p "$stack/redis"
    # set-proc-title would overwrite the environment in /proc, by which lib.sh knows its processes.
    cat >"$stack/redis/redis.conf" <<CONF
bind 127.0.0.1
port $redis_port
dir "$stack/redis"
daemonize no
set-proc-title no
save ""
appendonly yes
appendfsync everysec
maxmemory ${REDIS_MAXMEMORY:-1gb}
maxmemory-policy noeviction
enable-debug-command local
CONF
}

launch_redis() {
    start_process redis redis-server "$stack/redis/redis.conf"
}

redis_cli() {
    REDISCLI_AUTH=${own_redis_password:-} timeout 2 redis-cli -h "$redis_host" -p "$redis_port" "$@" 2>/dev/null
}

ready_redis() {
    [[ $(redis_cli PING) == PONG ]]
}

# MySQL: MariaDB, which Debian has.

# Administration is for the user who started it, through the socket.  A relative directory,
# because the program does not quote it.  Temporary files have a directory of their own: at its start a
# server deletes whatever tables it finds there, which in /tmp are another server's.
make_mysql_data() {
    rm -rf "$stack/mysql/data"
    (cd "$stack/mysql" && TMPDIR=$stack/mysql/tmp mariadb-install-db --no-defaults --user="$(id -un)" --datadir=./data \
        --auth-root-socket-user="$(id -un)" --skip-name-resolve --skip-test-db \
        --innodb-use-native-aio=0 --innodb-log-file-size=64M) >>"$stack/log/mysql.log" 2>&1
}

prepare_mysql() {
    need mysql mariadbd mariadb-server-core && need mysql mariadb-install-db mariadb-server-core &&
        need mysql mariadb mariadb-client-core || return 1
    mkdir -p "$stack/mysql/tmp"
    # Run at each start before the first connection is taken, so it needs no other account.
    cat >"$stack/mysql/init.sql" <<SQL
CREATE DATABASE IF NOT EXISTS seckill CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS seckill@'127.0.0.1' IDENTIFIED BY '$mysql_password';
CREATE USER IF NOT EXISTS seckill@localhost IDENTIFIED BY '$mysql_password';
GRANT ALL ON \`seckill%\`.* TO seckill@'127.0.0.1';
GRANT ALL ON \`seckill%\`.* TO seckill@localhost;
SQL
    [[ ! -e $stack/mysql/formatted ]] || return 0
    # Once more if it fails: on a crowded machine its short-lived server has been seen to give up.
    make_mysql_data || make_mysql_data || {
        complain "mysql's data directory cannot be made; what went wrong, from $stack/log/mysql.log:"
        grep -iE 'error|fatal|fail|cannot' "$stack/log/mysql.log" >&2 || tail -n 20 "$stack/log/mysql.log" >&2
        return 1
    }
    touch "$stack/mysql/formatted"
}

# The socket's name is relative to the data directory: an absolute one has room for 107 bytes.
launch_mysql() {
    start_process mysql mariadbd --no-defaults --user="$(id -un)" --datadir="$stack/mysql/data" --tmpdir="$stack/mysql/tmp" \
        --bind-address=127.0.0.1 --port="$mysql_port" --socket=mysql.sock \
        --pid-file="$stack/mysql/mariadbd.pid" --init-file="$stack/mysql/init.sql" \
        --skip-name-resolve --skip-log-bin --performance-schema=OFF --default-time-zone=+00:00 \
        --character-set-server=utf8mb4 --max-connections=200 --table-open-cache=400 --innodb-use-native-aio=0 \
        --innodb-buffer-pool-size=128M --innodb-log-file-size=64M
}

ready_mysql() {
    [[ $(MYSQL_PWD=$mysql_password timeout 5 mariadb --no-defaults --connect-timeout=3 --batch --skip-column-names \
        -h "$mysql_host" -P "$mysql_port" -u "$mysql_user" -D "$mysql_database" \
        -e 'SELECT 1' 2>/dev/null) == 1 ]]
}

# All three.

start_part() { # PART
    ! runs "$1" || return 0
    if "prepare_$1"; then
        "launch_$1"
        if await_process "$1" "$deadline_s" "ready_$1"; then
            say "$1: ready"
            return 0
        fi
        stop_part "$1" KILL 1
    fi
    instead "$1" >&2
    return 1
}

find_external() { # PART
    if await 10 "ready_$1"; then
        say "$1: using yours"
        return 0
    fi
    case $1 in
    kafka) complain "no Kafka answers at KAFKA_BROKERS=$brokers" ;;
    redis) complain "no Redis answers at REDIS_HOST=$redis_host REDIS_PORT=$redis_port" ;;
    mysql) complain "no MySQL answers at MYSQL_HOST=$mysql_host MYSQL_PORT=$mysql_port to" \
        "MYSQL_USER=$mysql_user with MYSQL_DATABASE=$mysql_database and the password given" ;;
    esac
    complain "Unset it to have one started."
    return 1
}

stop_part() { # PART SIGNAL SECONDS
    local pid
    pid=$(pid_of "$1") || return 0
    kill -s "$2" "$pid" 2>/dev/null || return 0
    kill -s CONT "$pid" 2>/dev/null || true
    await "$3" eval "! runs $1" && return 0
    complain "$1 did not end within $3 s of SIG$2 and was killed"
    kill -s KILL "$pid" 2>/dev/null || return 0
    await 10 eval "! runs $1"
}

start_all() {
    local part failed=0 started=() jobs=()
    note_settings
    for part in "${parts[@]}"; do
        is_external "$part" || runs "$part" || started+=("$part")
    done
    mkdir -p "$stack/log"
    reserve_ports kafka kafka_controller redis mysql
    for part in $kafka_links; do
        reserve_ports "kafka_${part%=*}"
    done
    load_state
    # What we began and did not finish is not left behind.
    trap 'for part in "${started[@]}"; do stop_part "$part" KILL 1; done; exit 130' INT TERM
    for part in "${parts[@]}"; do
        if is_external "$part"; then
            find_external "$part" &
        else
            start_part "$part" &
        fi
        jobs+=($!)
    done
    for part in "${jobs[@]}"; do
        wait "$part" || failed=1
    done
    trap - INT TERM
    if ((failed)); then
        for part in "${started[@]}"; do
            stop_part "$part" TERM 10
        done
        publish_env
        return 1
    fi
    publish_env
}

# Daemons first: they drain into servers that still answer.
stop_everything() { # SIGNAL for the servers
    stop_all no 20
    stop_all yes 20 "$1"
    rm -f "$stack/pid"/*
    write_env 20-daemons </dev/null
    publish_env
}

show_status() {
    local part pid rc=0
    for part in "${parts[@]}"; do
        if is_external "$part"; then
            echo "$part yours"
        elif pid=$(pid_of "$part"); then
            echo "$part running pid $pid port $(port_of "$part")"
        else
            echo "$part stopped"
            rc=3
        fi
    done
    return "$rc"
}

check_part() {
    case ${1:-} in
    kafka | redis | mysql) ;;
    *) die "which part?  kafka, redis or mysql" ;;
    esac
    ! is_external "$1" || die "$1 is yours: stack.sh leaves it alone"
}

usage() {
    sed -n '2,/^set -euo/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
}

main() {
    local verb=${1:-} signal
    if (($# < 2)); then
        usage >&2
        exit 2
    fi
    umask 077
    case $verb in
    start | port) ;;
    stop | remove | status | kill | restart)
        if [[ ! -d $2 ]]; then
            [[ $verb != stop && $verb != remove ]] || exit 0
            die "$2: there is no stack"
        fi
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    open_stack "$2"
    [[ $verb == start ]] || load_state
    case $verb in
    start)
        start_all
        ;;
    stop)
        stop_everything TERM
        ;;
    remove)
        stop_everything KILL
        rm -rf "$stack/kafka" "$stack/redis" "$stack/mysql" "$stack/settings" "$stack/secrets" \
            "$stack/ports" "$stack/env" "$stack/env.d" "$stack/pid"
        ;;
    status)
        show_status
        ;;
    kill)
        check_part "${3:-}"
        signal=${4:-KILL}
        signal=${signal#SIG}
        case $signal in
        KILL | TERM | INT | QUIT | 9 | 15) stop_part "$3" "$signal" 30 ;;
        *) kill -s "$signal" "$(pid_of "$3")" ;;
        esac
        publish_env
        ;;
    restart)
        check_part "${3:-}"
        stop_part "$3" TERM 20
        start_part "$3"
        publish_env
        ;;
    port)
        reserve_ports "${3:?NAME}"
        port_of "$3"
        ;;
    esac
}

main "$@"
