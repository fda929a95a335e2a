#!/bin/sh
# in-debian.sh RELEASE COMMAND...: runs `./dev COMMAND` with a copy of this tree on that release of
# Debian (trixie, bookworm, ...), in a root of its own that debootstrap makes. The root, with all
# packages and the sources of lwIP and mbedTLS, stays in the user's cache. Packages and sources are
# got there as on any machine, by this project's own tools; COMMAND then runs without a network.
#
# Exits 77 with a message where no such root can be used: that takes root and namespaces.
# SPDX-License-Identifier: MIT
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
# shellcheck source=tools/lib.sh
. "$root/tools/lib.sh"
# shellcheck source=tools/packages.sh
. "$root/tools/packages.sh"

groups='build sources unit specs demo'
release=${1:?usage: in-debian.sh RELEASE COMMAND...}
shift

impossible()
{
    say "in-debian.sh: $*"
    exit 77
}

# enter SYSTEM --net|--own-net SHELL_COMMAND [ARGS...]: runs it there as root, in /srv/socketcore,
# which is $tree. All that is mounted or started is gone afterwards.
# shellcheck disable=SC2016 # the inner shell's
enter()
{
    OWN_NET=
    [ "$2" = --net ] || OWN_NET=--net
    export OWN_NET
    enter_system=$1
    shift 2
    unshare --mount --pid --fork --kill-child $OWN_NET -- sh -ec '
        system=$1 tree=$2
        shift 2
        [ -z "$OWN_NET" ] || ip link set lo up
        mount --bind "$system" "$system"
        cd "$system"
        mount --rbind /dev dev
        mount --rbind /sys sys
        mount -t proc proc proc
        mount -t tmpfs -o mode=1777 tmp tmp
        mkdir -p srv/socketcore mnt/before
        mount --bind "$tree" srv/socketcore
        pivot_root . mnt/before
        umount -l mnt/before
        cd /srv/socketcore
        exec env -i HOME=/root LC_ALL=C.UTF-8 TERM=dumb SC_RESULTS="$SC_RESULTS" SC_RETRY="$SC_RETRY" \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -c "$@"
    ' sh "$enter_system" "$tree" "$@"
}

# What this machine's apt has been told about the way to the archive, a proxy for example.
# shellcheck disable=SC2317 # called by make_system, which with_lock calls
apt_settings()
{
    apt-config dump Acquire | grep -E '^Acquire::(http|https)::' || true
}

# The root's release and its packages are in its name: it is made anew when they change.
# shellcheck disable=SC2317
make_system()
{
    [ ! -d "$system" ] || return 0
    for outdated in "$(cache_dir)/debian-$release-"*; do
        rm -rf "$outdated"
    done
    archive=$(sh "$root/tools/sources.sh" --archive "$release") || exit 1
    work=$(mktemp -d "$(cache_dir)/debian.XXXXXX") || exit 1
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/root" "$work/tree"
    step "Making a root of Debian $release in $(cache_dir) (1.2 GB, some minutes, once)"
    # shellcheck disable=SC2086 # a list of words
    set -- $archive
    # Below /mnt, because debootstrap does not take a path with a blank.
    # shellcheck disable=SC2016 # the inner shell's
    if ! unshare --mount -- sh -ec 'mount --bind "$1" /mnt && shift && exec debootstrap "$@"' \
        sh "$work" --variant=minbase ${2:+"--keyring=$2"} "$release" /mnt/root "$1" \
        > "$work/log" 2>&1; then
        tail -n 15 "$work/log" >&2
        die_if_full "$work/log" "$work"
        die "debootstrap has failed; the end of what it said is above."
    fi
    cp /etc/resolv.conf /etc/hosts "$work/root/etc"
    apt_settings > "$work/root/etc/apt/apt.conf.d/99-machine"
    # It can be made again.
    echo force-unsafe-io > "$work/root/etc/dpkg/dpkg.cfg.d/fast"
    cp -R "$root/tools" "$work/tree"
    tree=$work/tree
    # shellcheck disable=SC2016,SC2086 # the inner shell's; a list of words
    if ! enter "$work/root" --net 'sh tools/install-packages.sh "$@" &&
        sh tools/sources.sh lwip && apt-get clean' sh $packages > "$work/log" 2>&1; then
        tail -n 15 "$work/log" >&2
        die_if_full "$work/log" "$work"
        die "getting the packages and sources on Debian $release has failed; the reason is above."
    fi
    mv "$work/root" "$system"
    rm -rf "$work"
    trap - EXIT
}

[ "$(id -u)" -eq 0 ] || impossible "a root of another release takes root"
is_debian || impossible "this is not a Debian system"
need_packages "debian $release" debian
unshare --mount --pid --fork --net true 2> /dev/null ||
    impossible "no namespaces can be made here: $(unshare --mount --pid --fork --net true 2>&1 || true)"

packages=$(for group in $groups; do packages_for "$group"; done | tr -s '[:space:]' '\n' | sort -u | tr '\n' ' ')
system=$(cache_dir)/debian-$release-$(printf '%s' "$packages" | cksum | cut -d ' ' -f 1)
results=${SC_RESULTS:-}
SC_RESULTS='' SC_RETRY=${SC_RETRY:-}
export SC_RESULTS SC_RETRY
with_lock "$(cache_dir)/debian-$release.lock" make_system || exit 1

tree=$(mktemp -d "$(cache_dir)/tree.XXXXXX")
trap 'rm -rf "$tree"' EXIT
trap 'exit 130' HUP INT TERM
(cd "$root" && tar -c --exclude=./build --exclude=./.git .) | tar -x -C "$tree"
SC_RESULTS=${results:+/srv/socketcore/results}
status=0
# shellcheck disable=SC2016 # the inner shell's
enter "$system" --own-net './dev "$@"' sh "$@" || status=$?
[ -z "$results" ] || cat "$tree/results" >> "$results" 2>/dev/null || true
exit "$status"
