#!/bin/sh
# sources.sh lwip|mbedtls: prints the directory with that library's source, and fetches both into
# the user's cache first if they are not there yet. sources.sh --have only says whether they are;
# sources.sh --archive RELEASE prints where that release of Debian is: URL, then keyring if it has one.
#
# They come from a release of Debian whose versions were tested here, whatever release this machine
# runs and whichever is the stable one by now. The machine's own apt configuration says where from (its Debian mirror and keyring) and is not touched: apt-get
# gets a private configuration with a single deb-src entry, and checks signatures as always. Works
# without root.
# SPDX-License-Identifier: MIT
set -eu

tools=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"

# The releases that ./dev test has passed with, newest first: release:lwIP:mbedTLS.
tested='trixie:2.2.1:3.6.6'

by_hand='Or name trees of your own: LWIP_DIR=/path/to/lwip-2.2.x MBEDTLS_DIR=/path/to/mbedtls-3.6.x ./dev ...'

have_sources()
{
    [ -f "$cache/lwip-2.2/src/core/tcp_in.c" ] && [ -f "$cache/mbedtls-3.6/library/ssl_msg.c" ]
}

# Every file that may name apt sources, one a line.
apt_source_files()
{
    eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
    # shellcheck disable=SC2154 # set by the eval
    for file in "$list" "$parts"*.list "$parts"*.sources; do
        if [ -f "$file" ] && [ -r "$file" ]; then
            printf '%s\n' "$file"
        fi
    done
}

# write_candidates DIRECTORY RELEASE: one private sources file for each archive of this machine's
# configuration that looks like Debian's own: candidate-0-* (Debian by its keyring or path) before candidate-1-*. Which of them
# really is Debian's is seen later, from its signed Release file.
write_candidates()
{
    # shellcheck disable=SC1091
    codename=$(. /etc/os-release 2>/dev/null && printf '%s' "${VERSION_CODENAME:-}")
    apt_source_files > "$work/files"
    rm -rf "$1"
    mkdir "$1"
    while IFS= read -r file; do
        awk -v out="$1" -v codename="$codename" -v release="$2" -f "$tools/debian-archives.awk" "$file"
    done < "$work/files"
}

write_apt_conf()
{
    mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/parts" "$work/none"
    cat > "$work/apt.conf" <<EOF
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Sandbox::User "$(id -un)";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Retries "2";
Acquire::Languages "none";
Dir::State::lists "$work/lists";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$work";
Dir::Cache::archives "$work/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$work/parts";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$work/none";
EOF
}

private_apt_get()
{
    LC_ALL=C apt-get -q -c "$work/apt.conf" "$@" >> "$work/log" 2>&1
}

# True when the Release file that was just fetched, and whose signature apt checked, is Debian's.
is_debian_release()
{
    for release in "$work"/lists/*Release; do
        if grep -qx 'Origin: Debian' "$release" && grep -qx 'Label: Debian' "$release"; then
            return 0
        fi
    done 2>/dev/null
    return 1
}

# choose_archive RELEASE: leaves the private configuration pointing at an archive of Debian.
choose_archive()
{
    write_candidates "$work/candidates" "$1"
    for candidate in "$work"/candidates/*.sources; do
        [ -f "$candidate" ] || continue
        rm -rf "$work/lists"
        mkdir -p "$work/lists/partial"
        cp "$candidate" "$work/parts/debian.sources"
        sed -n 's/^URIs: */asking /p' "$candidate" >> "$work/log"
        if private_apt_get -o APT::Update::Error-Mode=any update && is_debian_release; then
            return 0
        fi
    done
    return 1
}

fail()
{
    if [ -s "$work/log" ]; then
        tail -n 15 "$work/log" >&2
        say "(the end of what apt-get said)"
    fi
    die_if_full "$work/log" "$cache"
    die "$@" "$by_hand"
}

# find_tree PACKAGE SERIES: the directory of it that apt-get source has unpacked, in $found.
find_tree()
{
    for found in "$work/src/$1-$2".*; do
        [ ! -d "$found" ] || return 0
    done
    return 1
}

# keep PACKAGE SERIES TESTED: moves that directory into the cache in one step, so that nobody ever
# sees half of it, and says so when it is another version than the tested one.
keep()
{
    find_tree "$1" "$2" || return 1
    version=${found##*"/$1-"}
    rm -rf "${cache:?}/$1-$2"
    mv "$found" "$cache/$1-$2" || return 1
    say "    $1 $version is in $cache/$1-$2"
    if [ "${version%%[+~]*}" != "$3" ]; then
        say "    $1 $3 is the version that was tested; whether $version does as well, ./dev test tells."
    fi
}

# fetch_from RELEASE LWIP MBEDTLS: with the versions that were tested.
fetch_from()
{
    if ! choose_archive "$1"; then
        problem="no archive of Debian with the release $1 could be read through this machine's apt configuration."
        remedy="It needs an entry for Debian's main archive, a network, and a current debian-archive-keyring."
        return 1
    fi
    rm -rf "$work/src"
    mkdir "$work/src"
    if ! (cd "$work/src" && private_apt_get source --only-source lwip mbedtls); then
        problem="downloading or unpacking the sources of Debian's $1 failed."
        remedy="Check the network."
        return 1
    fi
    if ! find_tree lwip 2.2 || ! find_tree mbedtls 3.6; then
        problem="Debian's $1 has no lwIP 2.2.x or no mbedTLS 3.6.x any more; it has: $(cd "$work/src" &&
            find . -mindepth 1 -maxdepth 1 -type d | sed 's|^./||' | sort | tr '\n' ' ')"
        remedy="A newer version of this project may know a release that has."
        return 1
    fi
    keep lwip 2.2 "$2" && keep mbedtls 3.6 "$3"
}

make_work()
{
    work=$(mktemp -d "$cache/fetch.XXXXXX") || {
        die_if_full /dev/null "$cache"
        die "no directory could be made in $cache." "Check who owns it." "$by_hand"
    }
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' HUP INT TERM
    write_apt_conf
}

fetch()
{
    if have_sources; then
        return 0
    fi
    if ! is_debian; then
        die "there is no apt-get here to fetch the sources of lwIP and mbedTLS with." "$by_hand"
    fi
    make_work
    step "Getting the sources of lwIP and mbedTLS from Debian (about 25 MB, once)"
    for release in $tested; do
        versions=${release#*:}
        if fetch_from "${release%%:*}" "${versions%:*}" "${versions#*:}"; then
            return 0
        fi
        echo "$problem" >> "$work/log"
    done
    fail "$problem" "$remedy"
}

print_archive()
{
    is_debian || die "there is no apt-get here."
    mkdir -p "$cache"
    make_work
    choose_archive "$1" || fail "no archive of Debian with the release $1 could be read."
    sed -n 's/^URIs: *//p; s/^Signed-By: *//p' "$work/parts/debian.sources"
}

cache=$(cache_dir)
case $1 in
--have)
    have_sources
    exit
    ;;
--archive)
    print_archive "$2"
    exit
    ;;
esac
if ! have_sources; then
    with_lock "$cache/fetch.lock" fetch || exit 1
fi
case $1 in
lwip) printf '%s\n' "$cache/lwip-2.2" ;;
mbedtls) printf '%s\n' "$cache/mbedtls-3.6" ;;
esac
