#!/usr/bin/env bash
# deps.sh [--list] GROUP...: installs the Debian packages that are missing, and says what for.
#
# Groups: build, unit, servers, tests, bench, lint, fuzz.  Nothing missing: returns at once, needs neither root
# nor a network.  Programs only: no system service is started, and none is enabled for the next
# boot.  DEPS=0 skips everything (for a build under a package manager).
set -euo pipefail

# What is needed, a program or header whose presence makes the package unnecessary ("-" if only
# the package itself will do), and why.
packages() {
    case $1 in
    build)
        cat <<'LIST'
gcc                      cc                               the C compiler
libc6-dev                /usr/include/stdio.h             the C library's headers
pkg-config               pkg-config                       finds the libraries below
libevent-dev             -                                event loops
librdkafka-dev           -                                the Kafka client
libhiredis-dev           -                                the Redis client
libmariadb-dev-compat    -                                the MySQL client
libjansson-dev           -                                JSON
libssl-dev               -                                SHA-256 and HMAC
libxxhash-dev            -                                the log's chain
uthash-dev               /usr/include/uthash.h            the fold's hash tables
systemtap-sdt-dev        -                                probes for tracers (common/probe.h)
LIST
        ;;
    unit)
        echo 'libcmocka-dev            -                                unit tests'
        ;;
    servers)
        # A server of one's own (tools/stack.sh says how to name it) needs none of ours.
        [[ -n ${KAFKA_BROKERS:-} ]] || cat <<'LIST'
openjdk-17-jre-headless  java                             runs Apache Kafka (not with KAFKA_BROKERS set)
maven                    mvn                              fetches Apache Kafka (not with KAFKA_BROKERS set)
LIST
        [[ -n ${REDIS_HOST:-} ]] || cat <<'LIST'
redis-server             redis-server                     Redis (not with REDIS_HOST set)
LIST
        [[ -n ${MYSQL_HOST:-} ]] || cat <<'LIST'
mariadb-server-core      /usr/sbin/mariadbd               MySQL (not with MYSQL_HOST set)
LIST
        cat <<'LIST'
kcat                     kcat                             asks whether Kafka is ready
redis-tools              redis-cli                        asks whether Redis is ready
mariadb-client-core      mariadb                          asks whether MySQL is ready
curl                     curl                             asks whether the producer is ready
util-linux               flock                            locks between two stacks
LIST
        ;;
    tests)
        cat <<'LIST'
python3-pytest           -                                runs the integration tests
python3-pytest-xdist     -                                two files of them at a time
python3-pymysql          -                                MySQL from the tests
python3-redis            -                                Redis from the tests
python3-confluent-kafka  -                                Kafka from the tests
python3-requests         -                                HTTP from the tests
bpftrace                 bpftrace                         looks on at the probes (tools/trace)
binutils                 readelf                          lists them
strace                   strace                           makes a server's disk slow (make chaos ROW=H3)
libck-dev                /usr/include/ck_ring.h           a ring that the benches compare ours with
LIST
        ;;
    bench)
        cat <<'LIST'
wrk                      wrk                              as many requests as a door takes
nginx-light              /usr/sbin/nginx                  a door that does nothing, to compare with
LIST
        ;;
    fuzz)
        cat <<'LIST'
clang                    clang                            builds the fuzz targets
libclang-rt-14-dev       -                                the fuzzer itself
LIST
        ;;
    lint)
        cat <<'LIST'
clang-format             clang-format                     the house style
clang-tidy               clang-tidy                       static analysis
shellcheck               shellcheck                       the scripts
flake8                   flake8                           the tests
LIST
        ;;
    *)
        echo "deps.sh: no group \"$1\"; there are: build unit servers tests bench lint fuzz" >&2
        exit 2
        ;;
    esac
}

# The tests start servers of ours, whatever else is configured; but for OWN_MYSQL=1 (make test-mysql).
if [[ " $* " == *" tests "* ]]; then
    unset KAFKA_BROKERS REDIS_HOST
    [[ ${OWN_MYSQL:-} == 1 ]] || unset MYSQL_HOST
fi

# Called once for all: dpkg-query costs 10 ms, and every `make` pays it.
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null |
    sed -n 's/^installed //p') || installed=

is_there() { # PACKAGE PROBE
    grep -qxF -- "$1" <<<"$installed" && return 0
    case $2 in
    -) return 1 ;;
    /*) [[ -e $2 ]] ;;
    *) command -v -- "$2" >/dev/null ;;
    esac
}

policy=/usr/sbin/policy-rc.d
policy_mark='# seckill: no service starts while tools/deps.sh installs'

# Debian starts and enables a service on installation; invoke-rc.d asks this file first.
forbid_services() {
    if [[ -e $policy ]] && ! grep -qxF "$policy_mark" "$policy"; then
        "${root[@]}" mv "$policy" "$policy.seckill-saved"
    fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$policy_mark" | "${root[@]}" tee "$policy" >/dev/null
    "${root[@]}" chmod 755 "$policy"
}

allow_services() {
    "${root[@]}" rm -f "$policy"
    if [[ -e $policy.seckill-saved ]]; then
        "${root[@]}" mv "$policy.seckill-saved" "$policy"
    fi
}

disable_at_boot() { # SERVICE
    if command -v systemctl >/dev/null; then
        "${root[@]}" systemctl --quiet disable "$1" || true
    fi
    "${root[@]}" update-rc.d "$1" disable || true
} >/dev/null 2>&1

apt_get() {
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 "$@"
}

install_all() { # PACKAGE...
    local log service status=0
    log=$(mktemp)
    # Two at once would undo each other's policy file; the script itself serves as the lock.
    exec 9<"$0"
    flock 9
    forbid_services
    trap allow_services EXIT
    # A stale list is only a reason to go on: what it lacks fails by name in the next step.
    apt_get update >"$log" 2>&1 || tail -n 5 "$log" >&2
    apt_get install --no-install-recommends "$@" >"$log" 2>&1 || status=$?
    for service in redis-server nginx; do
        if ((status == 0)) && [[ " $* " == *" $service"[\ -]* ]]; then
            disable_at_boot "$service"
        fi
    done
    allow_services
    trap - EXIT
    if ((status != 0)); then
        echo "deps.sh: apt-get could not install them; the end of what it said:" >&2
        tail -n 20 "$log" >&2
    fi
    rm -f "$log"
    return "$status"
}

list=no
if [[ ${1:-} == --list ]]; then
    list=yes
    shift
fi
[[ ${DEPS:-1} != 0 ]] || exit 0

missing=() why=()
for group in "$@"; do
    table=$(packages "$group")
    while read -r package probe reason; do
        if [[ $list == yes ]]; then
            printf '%s\n' "$package"
        elif ! is_there "$package" "$probe"; then
            missing+=("$package")
            why+=("$(printf '  %-24s %s' "$package" "$reason")")
        fi
    done <<<"$table"
done
((${#missing[@]} > 0)) || exit 0

if [[ $(id -u) == 0 ]]; then
    root=()
elif command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
    root=(sudo)
else
    root=(false)
fi
if [[ ${root[*]} == false ]] || ! command -v apt-get >/dev/null; then
    {
        echo "These Debian 12 packages are needed and missing:"
        printf '%s\n' "${why[@]}"
        if command -v apt-get >/dev/null; then
            echo "This user is not root and cannot use sudo here, so as root:"
            echo "  apt-get install --no-install-recommends ${missing[*]}"
        else
            echo "There is no apt-get here; install what corresponds to them (DEPS=0 skips this check)."
        fi
    } >&2
    exit 1
fi

echo "Installing ${#missing[@]} Debian packages that are missing (programs only, no services):" >&2
printf '%s\n' "${why[@]}" >&2
install_all "${missing[@]}"
