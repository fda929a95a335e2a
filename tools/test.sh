#!/bin/sh
# test.sh SUITE [FILTER]: ctest and busted over what is built; FILTER is a regular expression for the
# tests' names. Each spec file runs in a process and a network namespace of its own, so that a crash
# costs one file and ports are free; several run at a time (SC_TEST_JOBS, by default one per CPU).
# Where no namespace can be made, what is started reaches this machine only, by means of
# test/support/preload/loopback_only.c, and tests that need a namespace are skipped. A spec has a
# TMPDIR of its own, and fails when it leaves something there. Ends with a line `N passed, N failed,
# N skipped`; SC_RESULTS names a file that such lines are added to.
#
# test.sh --spec SUITE FILE is one of those processes; the variables that it needs are exported.
# SPDX-License-Identifier: MIT
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
# shellcheck source=tools/lib.sh
. "$root/tools/lib.sh"

in_suite()
{
    "$root/tools/with-preset" "$suite" "$@"
}

# note PASSED FAILED SKIPPED: one line for the sum at the end.
note()
{
    printf '%s passed, %s failed, %s skipped\n' "$1" "$2" "$3" >> "$SC_WORK/results"
}

# confined DIRECTORY CMD...: runs CMD where it reaches no other machine. DIRECTORY.tmp is its TMPDIR.
confined()
{
    place=$1
    shift
    mkdir "$place.tmp"
    if [ -n "$SC_NETNS" ]; then
        set -- "$SC_NETNS" "$@"
    else
        mkdir "$place.own"
        set -- env "LD_PRELOAD=$SC_WORK/test/loopback_only.so${LD_PRELOAD:+:$LD_PRELOAD}" \
            "SC_OFF_MACHINE=$place.off" "SOCKETCORE_TMP=$place.own" "$@"
    fi
    TMPDIR=$place.tmp in_suite "$@"
}

# complaints DIRECTORY: what the command that ran there must not have done, and clears up.
complaints()
{
    if [ -f "$1.off" ]; then
        echo "it would have sent to other machines, which is not allowed without a namespace:"
        sort "$1.off" | uniq -c
    fi
    left=$(ls -A "$1.tmp")
    if [ -n "$left" ]; then
        echo "it left this in the temporary directory:"
        echo "$left"
    fi
    rm -rf "$1.off" "$1.own" "$1.tmp"
}

run_unit_tests()
{
    confined "$SC_WORK/unit" ctest --test-dir "$root/build/$suite" --output-on-failure --timeout 120 \
        -j "$jobs" ${filter:+-R "$filter"} > "$SC_WORK/ctest" 2>&1 || true
    complaint=$(complaints "$SC_WORK/unit")
    counts=$(sed -n 's/^[0-9]*% tests passed, \([0-9]*\) tests failed out of \([0-9]*\)$/\1 \2/p' \
        "$SC_WORK/ctest")
    if [ -z "$counts" ]; then
        if grep -q 'No tests were found' "$SC_WORK/ctest"; then
            return
        fi
        cat "$SC_WORK/ctest"
        counts='1 1'
    fi
    unit_failed=${counts% *}
    unit_all=${counts#* }
    if [ "$unit_failed" -gt 0 ]; then
        cat "$SC_WORK/ctest"
    fi
    echo "unit tests: $((unit_all - unit_failed)) of $unit_all passed"
    note $((unit_all - unit_failed)) "$unit_failed" 0
    if [ -n "$complaint" ]; then
        printf 'FAILED unit tests: %s\n' "$complaint"
        note 0 1 0
    fi
}

# The namespace in which tests run, or what keeps them on this machine without one.
choose_namespace()
{
    SC_NETNS=
    if in_suite "$root/test/support/netns.sh" --check > "$SC_WORK/netns" 2>&1; then
        SC_NETNS=$root/test/support/netns.sh
    else
        cat "$SC_WORK/netns"
        echo "tests run without a namespace; those that need one are skipped"
        in_suite env "LD_PRELOAD=$SC_WORK/test/loopback_only.so" true 2> "$SC_WORK/preload"
        if [ -s "$SC_WORK/preload" ]; then
            cat "$SC_WORK/preload"
            die "nothing would keep the tests on this machine: they are not run."
        fi
    fi
    export SC_NETNS
}

# count_of WORD: how many, from busted's closing line; 0 when it did not get that far.
count_of()
{
    number=$(sed -n 's/^\([0-9]* success.*\) : [0-9.e-]* seconds.*/\1/p' "$output" | tail -n 1 |
        tr '/' '\n' | awk -v word="$1" 'index($2, word) == 1 { print $1 }')
    echo "${number:-0}"
}

print_output()
{
    cat "$output"
}

# shellcheck disable=SC2016,SC2086 # SC_LUA is known inside; the unquoted are nothing or one word
try_spec()
{
    reports=0
    time_limit=180
    case $suite in
    asan | tsan) time_limit=600 ;;
    esac
    start=$(date +%s)
    status=0
    (cd "$root" && SC_SANITIZER_LOG=$output.sanitizer confined "$SC_WORK/$name" timeout $SC_FOREGROUND \
        -k 10 $time_limit sh -c 'exec "$SC_LUA" "$@"' lua "$(command -v busted)" \
        -o plainTerminal "$spec") > "$output" 2>&1 || status=$?
    took=$(($(date +%s) - start))
    passed=$(count_of success)
    failed=$(($(count_of failure) + $(count_of error)))
    skipped=$(count_of pending)
    for report in "$output".sanitizer*; do
        if [ -f "$report" ]; then
            cat "$report" >> "$output"
            rm -f "$report"
            reports=$((reports + 1))
            status=1
        fi
    done
    complaints "$SC_WORK/$name" > "$output.complaints"
    if [ -s "$output.complaints" ]; then
        cat "$output.complaints" >> "$output"
        [ "$status" -ne 0 ] || status=1
    fi
    rm "$output.complaints"
    if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
        failed=1
    fi
    if [ "$failed" -eq 0 ]; then
        echo "ok     $name: $passed passed, $skipped pending ($took s)" > "$output"
    else
        case $status in
        124 | 137) echo "it did not end within $time_limit s and was stopped" >> "$output" ;;
        esac
        echo "FAILED $name: $failed failed (exit status $status, $took s)" > "$output.head"
        sed 's/^/    /' "$output" >> "$output.head"
        mv "$output.head" "$output"
    fi
}

matching_specs()
{
    for spec_file in "$root"/test/spec/*_spec.lua; do
        if [ -f "$spec_file" ] && basename "$spec_file" _spec.lua | grep -Eq -- "$filter"; then
            printf '%s\0' "$spec_file"
        fi
    done
}

run_spec()
{
    spec=$1
    name=$(basename "$spec" .lua)
    output=$SC_WORK/$name
    try_spec
    # On a machine that others use too, a wait can end early once. A report of a sanitizer stands.
    if [ "$failed" -gt 0 ] && [ -n "${SC_RETRY:-}" ] && [ "$reports" -eq 0 ]; then
        first=$output.first
        mv "$output" "$first"
        try_spec
        if [ "$failed" -eq 0 ]; then
            {
                echo "FLAKY  $name: failed at first, then $passed passed ($took s). The failure:"
                sed 's/^/    /' "$first"
            } >> "$output"
        fi
        rm -f "$first"
    fi
    note "$passed" "$failed" "$skipped"
    with_lock "$SC_WORK/print.lock" print_output
}

run_specs()
{
    matching_specs > "$SC_WORK/specs"
    if [ ! -s "$SC_WORK/specs" ]; then
        return
    fi
    command -v busted >/dev/null || die "busted is not installed (Debian: lua-busted)."
    SC_FOREGROUND=
    if [ -t 0 ]; then
        SC_FOREGROUND=--foreground
    fi
    export SC_FOREGROUND
    xargs -0 -n 1 -P "$jobs" sh "$root/tools/test.sh" --spec "$suite" \
        < "$SC_WORK/specs"
}

if [ "$1" = --spec ]; then
    suite=$2
    run_spec "$3"
    exit 0
fi

suite=$1
filter=${2:-}
jobs=${SC_TEST_JOBS:-$(nproc)}
preset=$suite
[ "$suite" != luajit ] || preset=release
SC_WORK=$(mktemp -d)
case $SC_WORK in
*[!A-Za-z0-9/._-]*)
    # Some of the servers cannot be told of such a path.
    rmdir "$SC_WORK"
    SC_WORK=$(TMPDIR='' mktemp -d)
    ;;
esac
export SC_WORK
trap 'rm -rf "$SC_WORK"' EXIT
trap 'exit 130' HUP INT TERM
: > "$SC_WORK/results"
# What is preloaded, by a name without blanks, which would separate two libraries.
ln -s "$root/build/$preset/test" "$SC_WORK/test"

step "Testing $suite"
choose_namespace
if [ "$suite" != luajit ]; then
    run_unit_tests
fi
run_specs
if [ ! -s "$SC_WORK/results" ]; then
    die "no test matches \"$filter\"." "Names are those of test/unit/test_*.c and test/spec/*_spec.lua."
fi
if [ -n "${SC_RESULTS:-}" ]; then
    cat "$SC_WORK/results" >> "$SC_RESULTS"
fi
echo "$suite:"
awk '{ passed += $1; failed += $3; skipped += $5 }
    END {
        print passed " passed, " failed " failed, " skipped " skipped"
        exit failed > 0
    }' "$SC_WORK/results"
