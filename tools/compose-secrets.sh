#!/usr/bin/env bash
# compose-secrets.sh [DIR]: makes the secrets that docker-compose.yml mounts, in secrets/.
#
# What is there already stays: MySQL keeps the password that its volume was made with.  The
# directory is its owner's alone.  The files in it are readable, because in the containers they
# belong to another user than here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dir=${1:-secrets}

mkdir -p "$dir"
chmod 700 "$dir"
for name in mysql_password mysql_root_password token_secret; do
    if [[ ! -s $dir/$name ]]; then
        (umask 022 && head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$dir/$name")
    fi
done
