#!/bin/sh
# optscan.sh [BIN_DIR]: fails when an option of a program stands in no etc/*.conf or not in
# docs/operations.md, or when a sample is refused by the program it is for, or shows a default that
# is none.  The same for every metric and log event that stands in the sources: docs/operations.md
# has to name it, and names no other; and it says what to do about each alert.
# A test that any document names has to be there.
#
# The options are those that the programs themselves print.  etc/seckill-matcher.conf is for that
# program; a sample with any other name is for all of them.
set -eu
cd "$(dirname "$0")/.."
bin=${1:-build/bin}
doc=docs/operations.md
bad=0
scratch=$(mktemp)
trap 'rm -f "$scratch"' EXIT

complain() {
    echo "optscan: $*" >&2
    bad=1
}

# A program in an environment of nothing but a token secret, without which the producer refuses.
run_bare() {
    env -i SECKILL_TOKEN_SECRET=optscan-optscan-optscan-optscan-optscan "$@"
}

# The names of all options of program $1, a secret's with -file.
options() {
    run_bare "$1" --print-config | sed -nE 's/^#?([a-z][a-z0-9-]*) =.*/\1/p'
}

# Every value in force, with sample $2 as if no option in it were commented out.
values() {
    sed -E '/^#?kafka\.|-file =/!s/^#([a-z][a-z0-9-]* =)/\1/' "$2" >"$scratch"
    run_bare "$1" --print-config --config "$scratch" | grep -v '^# '
}

[ -f "$doc" ] || complain "$doc is missing"
set -- etc/*.conf
[ -f "$1" ] || complain "etc/ has no sample (--print-config makes one)"
[ "$bad" -eq 0 ] || exit 1
found=0
for program in "$bin"/seckill*; do
    [ -x "$program" ] || continue
    found=$((found + 1))
    name=$(basename "$program")
    names=$(options "$program") || complain "$name --print-config failed"
    [ -n "$names" ] || complain "$name --print-config shows no option"
    for option in $names; do
        grep -qsE "^#?${option%-file}(-file)? =" "$@" || complain "$name: $option is in no etc/*.conf"
        grep -qsE "\`(--)?${option%-file}(-file)?[\`= ]" "$doc" || complain "$name: $option is not in $doc"
    done
    for sample in "$@"; do
        case $(basename "$sample" .conf) in
        "$name") ;;
        seckill-* | seckillctl) continue ;;
        esac
        run_bare "$program" --check-config --config "$sample" >/dev/null ||
            complain "$name refuses $sample"
        [ "$(values "$program" "$sample")" = "$(run_bare "$program" --print-config | grep -v '^# ')" ] ||
            complain "$name: $sample shows a default that is not the program's"
    done
done
for name in $(git grep -hoE '"seckill_[a-z_]+"' -- '*/*.[ch]' ':!tests' ':!tools' ':!common/stats.h' | tr -d '"' | sort -u) \
    $(git grep -hE -A1 '\blog_(error|warn|info|debug|limited)\(' -- '*/*.c' ':!tests' ':!tools' |
        grep -oE '"[a-z]+\.[a-z_]+"' | tr -d '"' | sort -u); do
    grep -qE "\`${name}[\`{]" "$doc" || complain "$name is not in $doc"
done
for name in $(grep -oE "\`seckill_[a-z_]+[\`{]" "$doc" | tr -d '`{' | sort -u) \
    $(sed -n '/^## 5/,/^### Reading/p' "$doc" | cut -d'|' -f2 | grep -oE "\`[a-z]+\.[a-z_]+\`" | tr -d '`' | sort -u); do
    git grep -qE "\"${name}[\"{ ]" -- '*/*.[ch]' ':!tests' ':!tools' || complain "$name of $doc is in no source"
done
for name in $(git grep -hoE 'alert: [A-Za-z]+' -- deploy | cut -d' ' -f2); do
    grep -q "\*\*$name\*\*" "$doc" || complain "the alert $name is not in $doc"
done
for name in $(git grep -hoE "\`test_[a-z0-9_]+(\.py)?\`" -- '*.md' | tr -d '`' | sort -u); do
    [ -n "$(git ls-files "tests/*/$name")" ] || git grep -qE "(def|void) $name\(" -- tests ||
        complain "a document names $name, and there is no such test"
done
[ "$found" -gt 0 ] || complain "no program in $bin; run make first"
exit "$bad"
