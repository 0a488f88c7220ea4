#!/usr/bin/env bash
# run.sh SECONDS FUZZER - runs a fuzzer for so long and says in a line what came of it.
#
# Starts from the corpus in the repository and what earlier runs added to BUILD/corpus/, and draws by
# SEED if there is one.  A finding ends the fuzzer; its input is kept, and the line says how to play it
# again.
set -euo pipefail
seconds=$1
fuzzer=$2
here=$(dirname "$0")
name=$(basename "$fuzzer" _fuzz)
fuzz=$(dirname "$fuzzer")
corpus=$(dirname "$fuzz")/corpus/$name
log=$fuzz/$name.log
flags=(${SEED:+"-seed=$SEED"})

mkdir -p "$corpus"
rm -f "$fuzz/found/$name"-*
mkdir -p "$fuzz/found"
[[ ! -e $here/$name.dict ]] || flags+=("-dict=$here/$name.dict")
if "$fuzzer" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=1024 -print_final_stats=1 \
    -artifact_prefix="$fuzz/found/$name-" "${flags[@]}" "$corpus" "$here/corpus/$name" \
    >"$log" 2>&1 </dev/null; then
    echo "fuzz $name: ok, $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs," \
        "coverage $(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1), $seconds s"
    exit 0
fi
found=$(compgen -G "$fuzz/found/$name-*" | head -n 1 || true)
echo "fuzz $name: FAILED, see $log${found:+; once more: $fuzzer $found}"
exit 1
