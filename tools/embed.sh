#!/bin/sh
# embed.sh NAME FILE: prints a C header with FILE's bytes as NAME and their SHA-1 as NAME_sha1, as Redis names
# scripts.
set -eu
printf '/* Made from %s; do not edit. */\n' "$2"
printf 'static const char %s_sha1[] = "%s";\n' "$1" "$(sha1sum <"$2" | cut -d' ' -f1)"
printf 'static const unsigned char %s[] = {\n' "$1"
od -An -v -tx1 "$2" | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'
printf '};\n'
