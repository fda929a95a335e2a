#!/bin/sh
# check-exports.sh MODULE.so...: a module exports luaopen_* and sc_* and nothing of the libraries
# inside it, and all it needs from outside is there (Lua comes from the program that loads it).
# SPDX-License-Identifier: MIT
set -eu

failed=0
for module; do
    name=$(basename "$module")
    # A sanitizer puts markers of its own beside our symbols.
    extra=$(nm -D --defined-only "$module" | awk '{ print $NF }' |
        grep -Ev '^(luaopen_[a-z]+|sc_[a-z0-9_]+|__(asan|odr_asan|ubsan|tsan)[._].*)$' || true)
    if [ -n "$extra" ]; then
        printf '%s exports what is not its own:\n%s\n' "$name" "$extra" >&2
        failed=1
    fi
    if ! nm -D --defined-only "$module" | grep -q ' luaopen_'; then
        printf '%s exports no luaopen_ function\n' "$name" >&2
        failed=1
    fi
    missing=$(ldd -r "$module" 2>&1 | sed -n 's/^undefined symbol: \([^[:space:]]*\).*/\1/p' |
        grep -Ev '^(lua_|luaL_|__(asan|ubsan|tsan|lsan)_)' || true)
    if [ -n "$missing" ]; then
        printf '%s needs what nobody defines:\n%s\n' "$name" "$missing" >&2
        failed=1
    fi
done
exit "$failed"
