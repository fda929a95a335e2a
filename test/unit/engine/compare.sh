#!/bin/sh
# compare.sh PROGRAM REFERENCE: both must print the same lines; shows the first that differ.
# SPDX-License-Identifier: MIT
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$1" > "$work/answers"
"$2" > "$work/reference"
if [ ! -s "$work/reference" ]; then
    echo "$2 printed nothing" >&2
    exit 1
fi
diff -U 2 "$work/reference" "$work/answers" > "$work/difference" || {
    head -n 20 "$work/difference" >&2
    exit 1
}
