#!/bin/sh
# embed-schema.sh FILE...: prints a C header with the migrations NNNN_what.sql, in order.
set -eu
for file in "$@"; do
    printf 'static const unsigned char migration_%s[] = {\n' "$(basename "$file" | cut -c1-4)"
    od -An -v -tx1 "$file" | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'
    printf '};\n'
done
printf 'static const struct migration migrations[] = {\n'
for file in "$@"; do
    name=$(basename "$file" .sql)
    number=$(echo "$name" | cut -c1-4)
    printf '    {%d, "%s", migration_%s, sizeof(migration_%s)},\n' \
        "$(echo "$number" | sed 's/^0*//')" "$name" "$number" "$number"
done
printf '};\n'
