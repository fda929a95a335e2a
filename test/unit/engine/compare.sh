#!/bin/sh
# compare.sh PROGRAM REFERENCE: both must print the same lines, PROGRAM also as on an old CPU; shows
# the first that differ.
# SPDX-License-Identifier: MIT
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$2" > "$work/reference"
if [ ! -s "$work/reference" ]; then
    echo "$2 printed nothing" >&2
    exit 1
fi

compare()
{
    diff -U 2 "$work/reference" "$work/answers" > "$work/difference" || {
        echo "$1:"
        head -n 20 "$work/difference"
        exit 1
    } >&2
}

"$1" > "$work/answers"
compare 'on this CPU'
NETTLE_FAT_OVERRIDE=none "$1" portable > "$work/answers"
compare 'without special instructions'
