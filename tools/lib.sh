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

# has_no_room DIRECTORY: is the file system that it is on full, or nearly so?
has_no_room()
{
    df -Pk "$1" 2>/dev/null | awk 'NR == 2 { is_full = $4 < 2048 } END { exit !is_full }' ||
        df -Pi "$1" 2>/dev/null | awk 'NR == 2 { is_full = $2 > 0 && $4 == 0 } END { exit !is_full }'
}

# die_if_full LOG DIRECTORY...: LOG is what a program said that has failed, and these are where it
# writes. What does not fit is not told as something else.
die_if_full()
{
    full_log=$1
    shift
    for full_place; do
        if has_no_room "$full_place"; then
            die "the disk is full: $full_place has no room left." "Make room there and try again."
        fi
    done
    if grep -Eqs 'No space left on device|enough free space|Disk quota exceeded' "$full_log"; then
        die "the disk is full; the message above says where." \
            "Make room (this was about $(printf '%s, ' "$@" | sed 's/, $//')) and try again."
    fi
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
