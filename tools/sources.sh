#!/bin/sh
# sources.sh lwip|mbedtls: prints the directory with that library's source, and fetches both into
# the user's cache first if they are not there yet. sources.sh --have only says whether they are.
#
# They come from Debian's current stable release, whatever release this machine runs. The machine's
# own apt configuration says where from (its Debian mirror and keyring) and is not touched: apt-get
# gets a private configuration with a single deb-src entry, and checks signatures as always. Works
# without root.
# SPDX-License-Identifier: MIT
set -eu

tools=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"

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

# Writes one private sources file for each archive of this machine's configuration that looks like
# Debian's own: candidate-0-* (Debian by its keyring or path) before candidate-1-*. Which of them
# really is Debian's is seen later, from its signed Release file.
write_candidates()
{
    # shellcheck disable=SC1091
    codename=$(. /etc/os-release 2>/dev/null && printf '%s' "${VERSION_CODENAME:-}")
    apt_source_files > "$work/files"
    while IFS= read -r file; do
        awk -v out="$1" -v codename="$codename" -f "$tools/debian-archives.awk" "$file"
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

# Leaves the private configuration pointing at an archive of Debian.
choose_archive()
{
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
    die "$@" "$by_hand"
}

# The one directory that apt-get source unpacked for PACKAGE, moved into the cache in one step, so
# that nobody ever sees half of it.
keep()
{
    package=$1
    series=$2
    for tree in "$work/src/$package-$series".*; do
        if [ -d "$tree" ]; then
            rm -rf "${cache:?}/$package-$series"
            mv "$tree" "$cache/$package-$series"
            say "    $(basename "$tree") is in $cache/$package-$series"
            return 0
        fi
    done
    fail "Debian's stable release has no $package $series.x any more."
}

fetch()
{
    if have_sources; then
        return 0
    fi
    if ! is_debian; then
        die "there is no apt-get here to fetch the sources of lwIP and mbedTLS with." "$by_hand"
    fi
    work=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' HUP INT TERM
    step "Getting the sources of lwIP and mbedTLS from Debian's stable release (about 25 MB, once)"
    mkdir "$work/candidates" "$work/src"
    write_apt_conf
    write_candidates "$work/candidates"
    if ! choose_archive; then
        fail "no Debian archive could be read through this machine's apt configuration." \
            "It needs an entry for Debian's main archive, a network, and a current debian-archive-keyring."
    fi
    if ! (cd "$work/src" && private_apt_get source --only-source lwip mbedtls); then
        fail "downloading or unpacking the sources failed." "Check the network and the free space in $cache."
    fi
    keep lwip 2.2
    keep mbedtls 3.6
}

cache=$(cache_dir)
if [ "$1" = --have ]; then
    have_sources
    exit
fi
if ! have_sources; then
    with_lock "$cache/fetch.lock" fetch || exit 1
fi
case $1 in
lwip) printf '%s\n' "$cache/lwip-2.2" ;;
mbedtls) printf '%s\n' "$cache/mbedtls-3.6" ;;
esac
