#!/bin/sh
# test.sh SUITE [FILTER]: ctest and busted over what is built. Each spec file runs in a process and
# a network namespace of its own, so that a crash costs one file and ports are free. Ends with a
# line `N passed, N failed, N skipped`. SC_RESULTS names a file that such lines are added to.
# SPDX-License-Identifier: MIT
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
# shellcheck source=tools/lib.sh
. "$root/tools/lib.sh"

suite=$1
filter=${2:-}
passed=0
failed=0
skipped=0
matched=0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM

in_suite()
{
    SC_SANITIZER_LOG=$work/sanitizer "$root/tools/with-preset" "$suite" "$@"
}

run_unit_tests()
{
    in_suite ctest --test-dir "$root/build/$suite" --output-on-failure --timeout 120 \
        ${filter:+-R "$filter"} > "$work/ctest" 2>&1 || true
    counts=$(sed -n 's/^[0-9]*% tests passed, \([0-9]*\) tests failed out of \([0-9]*\)$/\1 \2/p' \
        "$work/ctest")
    if [ -z "$counts" ]; then
        if grep -q 'No tests were found' "$work/ctest"; then
            return
        fi
        cat "$work/ctest"
        counts='1 1'
    fi
    unit_failed=${counts% *}
    unit_all=${counts#* }
    if [ "$unit_failed" -gt 0 ]; then
        cat "$work/ctest"
    fi
    echo "unit tests: $((unit_all - unit_failed)) of $unit_all passed"
    passed=$((passed + unit_all - unit_failed))
    failed=$((failed + unit_failed))
    matched=$((matched + unit_all))
}

# The namespace in which specs run, or the choice of those that need none.
choose_namespace()
{
    namespace=
    exclude=
    if [ ! -x "$root/test/support/netns.sh" ]; then
        return
    fi
    if "$root/test/support/netns.sh" --check > "$work/netns" 2>&1; then
        namespace=$root/test/support/netns.sh
    else
        cat "$work/netns"
        echo "no network namespace can be made here: leaving out the specs that need one"
        exclude=--exclude-tags=netns
    fi
}

# count_of WORD: how many, from busted's closing line; 0 when it did not get that far.
count_of()
{
    number=$(sed -n 's/^\([0-9]* success.*\) : [0-9.e-]* seconds.*/\1/p' "$work/spec" | tail -n 1 |
        tr '/' '\n' | awk -v word="$1" 'index($2, word) == 1 { print $1 }')
    echo "${number:-0}"
}

# shellcheck disable=SC2016,SC2086 # SC_LUA is known inside; exclude is nothing or one word
run_spec()
{
    spec=$1
    name=$(basename "$spec" .lua)
    start=$(date +%s)
    spec_status=0
    (cd "$root" && in_suite timeout $foreground -k 10 "$time_limit" \
        ${namespace:+"$namespace"} sh -c 'exec "$SC_LUA" "$@"' lua "$busted" \
        -o plainTerminal $exclude "$spec") > "$work/spec" 2>&1 < /dev/null || spec_status=$?
    took=$(($(date +%s) - start))
    good=$(count_of success)
    bad=$(($(count_of failure) + $(count_of error)))
    left_out=$(count_of pending)
    for report in "$work"/sanitizer*; do
        if [ -f "$report" ]; then
            echo "sanitizer report:" >> "$work/spec"
            cat "$report" >> "$work/spec"
            rm -f "$report"
            spec_status=1
        fi
    done
    if [ "$spec_status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    skipped=$((skipped + left_out))
    if [ "$bad" -gt 0 ]; then
        echo "FAILED $name: $bad failed (exit status $spec_status, $took s)"
        case $spec_status in
        124 | 137) echo "it did not end within $time_limit s and was stopped" ;;
        esac
        sed 's/^/    /' "$work/spec"
    else
        echo "ok     $name: $good passed, $left_out pending ($took s)"
    fi
}

run_specs()
{
    busted=$(command -v busted) || die "busted is not installed (Debian: lua-busted)."
    time_limit=300
    case $suite in
    asan | tsan) time_limit=900 ;;
    esac
    foreground=
    if [ -t 0 ]; then
        foreground=--foreground
    fi
    choose_namespace
    for spec_file in "$root"/test/spec/*_spec.lua; do
        case $(basename "$spec_file" _spec.lua) in
        *"$filter"*)
            if [ -f "$spec_file" ]; then
                matched=$((matched + 1))
                run_spec "$spec_file"
            fi
            ;;
        esac
    done
}

step "Testing $suite"
if [ "$suite" != luajit ]; then
    run_unit_tests
fi
run_specs
if [ "$matched" -eq 0 ]; then
    die "no test matches \"$filter\"." "Names are those of test/unit/test_*.c and test/spec/*_spec.lua."
fi
result="$passed passed, $failed failed, $skipped skipped"
if [ -n "${SC_RESULTS:-}" ]; then
    echo "$result" >> "$SC_RESULTS"
fi
echo "$suite:"
echo "$result"
[ "$failed" -eq 0 ]
