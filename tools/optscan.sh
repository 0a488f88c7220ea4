#!/bin/sh
# optscan.sh [BIN_DIR]: fails when an option of a program stands in no etc/*.conf or not in
# docs/operations.md, or when a sample is refused by the program it is for.
#
# The options are those that the programs themselves print.  etc/seckill-matcher.conf is for that
# program; a sample with any other name is for all of them.
set -eu
cd "$(dirname "$0")/.."
bin=${1:-build/bin}
doc=docs/operations.md
bad=0

complain() {
    echo "optscan: $*" >&2
    bad=1
}

# The names of all options of program $1, a secret's with -file.
options() {
    env -i "$1" --print-config | sed -nE 's/^#?([a-z][a-z0-9-]*) =.*/\1/p'
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
        grep -qsE "^#?$option =" "$@" || complain "$name: $option is in no etc/*.conf"
        grep -qsE "\`(--)?${option%-file}(-file)?[\`= ]" "$doc" || complain "$name: $option is not in $doc"
    done
    for sample in "$@"; do
        case $(basename "$sample" .conf) in
        "$name") ;;
        seckill-* | seckillctl) continue ;;
        esac
        env -i "$program" --check-config --config "$sample" >/dev/null ||
            complain "$name refuses $sample"
    done
done
[ "$found" -gt 0 ] || complain "no program in $bin; run make first"
exit "$bad"
