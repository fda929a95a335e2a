# Sourced by dev and its helpers: messages, the cache directory, what kind of system this is.
# SPDX-License-Identifier: MIT
# shellcheck shell=sh

say()
{
    printf '%s\n' "$*" >&2
}

step()
{
    say "==> $*"
}

# die WHAT [WHAT TO DO...]: one line each.
die()
{
    say "dev: $1"
    shift
    for die_line; do
        say "     $die_line"
    done
    exit 1
}

cache_dir()
{
    printf '%s/socketcore\n' "${XDG_CACHE_HOME:-${HOME:?neither HOME nor XDG_CACHE_HOME is set}/.cache}"
}

is_debian()
{
    command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1
}

# with_lock FILE CMD...: two runs of dev at once take turns at what they share.
with_lock()
{
    lock_file=$1
    shift
    mkdir -p "$(dirname "$lock_file")" ||
        die "cannot make $(dirname "$lock_file")" "Check who owns it and whether the disk is full."
    if command -v flock >/dev/null 2>&1; then
        (
            flock 9
            "$@"
        ) 9>>"$lock_file"
    else
        "$@"
    fi
}
