#!/bin/sh
# run.sh BUILD_DIR [--record]: counts the instructions of an operation with callgrind and compares
# them with baseline.txt, or writes that. `./dev instructions` calls it with everything built.
# SPDX-License-Identifier: MIT
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
build=$(CDPATH='' cd -- "${1:?usage: run.sh BUILD_DIR [--record]}" && pwd -P)
rounds=100

fail()
{
    printf 'instructions: %s\n' "$@" >&2
    exit 1
}

case ${2:-} in
'' | --record) ;;
*) fail "\"$2\" is not an option." "Without one it compares, with --record it writes the baseline." ;;
esac

# shellcheck source=tools/lib.sh
. "$here/../../tools/lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM

# Configured before valgrind was installed?
if grep -q '^VALGRIND_INCLUDE_DIR:.*NOTFOUND' "$build/CMakeCache.txt"; then
    with_lock "$build.lock" cmake "$build" >"$work/build.log" 2>&1 || {
        cat "$work/build.log" >&2
        fail "cmake could not configure $build; the reason is above."
    }
fi
with_lock "$build.lock" cmake --build "$build" --target instructions -- --quiet \
    >"$work/build.log" 2>&1 || {
    cat "$work/build.log" >&2
    fail "bench/instructions does not build; the messages are above."
}

count()
{
    valgrind --tool=callgrind --quiet --callgrind-out-file="$work/$1" --dump-line=no \
        "$build/bench/instructions" "$1" "$rounds" >"$work/$1.log" 2>&1
}

count sockets &
sockets=$!
count socketcore || { cat "$work/socketcore.log" >&2; fail "socketcore's side has failed."; }
wait "$sockets" || { cat "$work/sockets.log" >&2; fail "the side of lwIP's sockets has failed."; }

# Which of the compiler's names was used does not matter.
compiler=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")
platform="$("$compiler" --version | sed -n '1{s/^g\{0,1\}cc /gcc /;p;q}'), $(uname -m)"
# Without exec, which would end the shell before it removes its directory.
lua5.1 "$here/report.lua" "$work" "$here/baseline.txt" "$rounds" "$platform" ${2:+"$2"}
