#!/bin/sh
# check-core-symbols.sh lwipopts.h libsc_core.a LIBRARY.a...: the core calls lwIP, mbedTLS, what the
# platform supplies (sc_port_*, and what its lwipopts.h and arch/ turn macros of lwIP into) and a few
# functions of the C library that every toolchain for firmware has. A call of POSIX would show here
# even where a header let it through.
# SPDX-License-Identifier: MIT
set -eu

options=$1
core=$2
shift 2

allowed='mem(cpy|move|set|cmp|chr)|str(cpy|ncpy|len|cmp|ncmp|chr|rchr|str|spn|cspn|tol|toul|error)|v?snprintf'
allowed="$allowed|malloc|calloc|realloc|free|abort|__stack_chk_fail|__assert_fail"
allowed="$allowed|__(isoc[0-9]+_.*|v?snprintf_chk|mem(cpy|move|set)_chk)|__ctype_b_loc"
allowed="$allowed|sys_(sem|mutex|mbox|thread|arch|now|msleep|init|mark|lock|unlock)[a-z_]*"
allowed="$allowed|_GLOBAL_OFFSET_TABLE_"
port=$(grep -oh 'sc_[a-z0-9_]*' "$options" "$(dirname "$options")"/mbedtls_config.h "$(dirname "$options")"/arch/*.h | sort -u | tr '\n' '|')

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
nm --defined-only "$core" "$@" 2>/dev/null |
    awk 'NF == 3 && $2 ~ /[A-Z]/ { print $3 }' | sort -u > "$work/defined"
nm -u "$core" 2>/dev/null | awk '$1 == "U" { print $2 }' | sort -u > "$work/needed"

strange=$(comm -23 "$work/needed" "$work/defined" | grep -Ev "^(sc_port_[a-z_]+|$port$allowed)\$" || true)
if [ -n "$strange" ]; then
    printf 'the core calls functions that firmware may not have:\n%s\n' "$strange" >&2
    exit 1
fi
