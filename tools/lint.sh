#!/bin/sh
# lint.sh [--fix]: every checker over our own files, all of them even when one complains.
# SPDX-License-Identifier: MIT
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
# shellcheck source=tools/lib.sh
. "$root/tools/lib.sh"

cd "$root"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
complaints=

# check NAME LIST CMD...: runs CMD with the files of LIST as its last arguments.
check()
{
    check_name=$1
    check_list=$2
    shift 2
    if [ ! -s "$check_list" ]; then
        return 0
    fi
    if xargs "$@" < "$check_list" > "$work/out" 2>&1; then
        say "ok     $check_name ($(wc -l < "$check_list") files)"
    else
        say "FAILED $check_name"
        cat "$work/out"
        complaints="$complaints $check_name"
    fi
}

find include src test bench examples tools -name '*.[ch]' 2>/dev/null | sort > "$work/c-and-h"
find lua test bench examples tools -name '*.lua' 2>/dev/null | sort > "$work/lua"
find tools test bench examples -name '*.sh' 2>/dev/null | sort > "$work/sh"
printf '%s\n' dev tools/with-preset .ci/run >> "$work/sh"
# What this machine's build compiles; the firmware port is for another target.
sed -n 's/^ *"file": "\(.*\)",*$/\1/p' build/release/compile_commands.json |
    sed -n "s|^$root/||p" | sort -u > "$work/compiled"

if [ "${1:-}" = --fix ]; then
    xargs clang-format -i < "$work/c-and-h"
fi
check clang-format "$work/c-and-h" clang-format --dry-run -Werror
# The compile commands are gcc's.
check clang-tidy "$work/compiled" -n 1 -P 2 clang-tidy --quiet -p build/release \
    --extra-arg=-Wno-ignored-optimization-argument
check cppcheck "$work/c-and-h" cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr \
    --enable=warning,performance,portability --suppress=missingInclude \
    --suppress=missingIncludeSystem -j 2 -I include -I src -I src/port/host
check luacheck "$work/lua" luacheck --quiet --no-color
check shellcheck "$work/sh" shellcheck -x -P SCRIPTDIR -P .

[ -z "$complaints" ] || die "these complain:$complaints"
