#!/bin/sh
# run.sh BUILD_DIR [options]: the bench. `./dev bench` calls it with everything built. Builds the
# server and the limits, finds out which CPUs to pin to, and leaves the rest to bench.lua.
# SPDX-License-Identifier: MIT
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
build=$(CDPATH='' cd -- "${1:?usage: run.sh BUILD_DIR [options]}" && pwd -P)
shift

fail()
{
    printf 'bench: %s\n' "$@" >&2
    exit 1
}

# shellcheck source=tools/lib.sh
. "$(dirname -- "$here")/tools/lib.sh"

for module in socketcore rtos; do
    [ -f "$build/$module.so" ] || fail "there is no $module.so in $build." "Run ./dev build first."
done
mkdir -p "$build/bench"
with_lock "$build.lock" cmake --build "$build" --target bench -- --quiet \
    >"$build/bench/build.log" 2>&1 || {
    cat "$build/bench/build.log" >&2
    fail "the bench's programs do not build; the messages are above."
}

with_lock "$build.lock" sh "$here/certificates.sh" "$build/bench/certificates"

# The first two CPUs that this process may use: 0 and 1 on most machines.
cpus=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status | tr ',' '\n' |
    awk -F- '{ for (i = $1; i <= ($2 == "" ? $1 : $2) && n < 2; i++) { printf "%d ", i; n++ } }')
case $cpus in
*' '*' ') command -v taskset >/dev/null 2>&1 || cpus= ;;
*) cpus= ;;
esac

# 4,000 connections need more descriptors than most shells grant. Not as many as there may be: some
# programs look at every one.
# shellcheck disable=SC3045 # where there is no ulimit -n, it fails silently
ulimit -n 16384 2>/dev/null || ulimit -n "$(ulimit -H -n)" 2>/dev/null || true
# shellcheck disable=SC3045
BENCH_FILES=$(ulimit -n 2>/dev/null || echo unlimited)

# Each side gets a clean search path in bench.lua: both have a module called "socket".
unset LUA_INIT LUA_PATH LUA_CPATH
BENCH_DIR=$here BENCH_BUILD=$build BENCH_CPUS=$cpus
export BENCH_DIR BENCH_BUILD BENCH_CPUS BENCH_FILES
exec lua5.1 "$here/bench.lua" "$@"
