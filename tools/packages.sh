# Sourced by dev: which Debian packages each command needs, and getting those that are missing.
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # root is dev's

packages_for()
{
    case $1 in
    build) echo gcc libc6-dev cmake ninja-build libslirp-dev libgcrypt20-dev nettle-dev lua5.1 \
        liblua5.1-0-dev ;;
    sources) echo dpkg-dev ;;
    unit) echo libcmocka-dev ;;
    specs) echo lua-busted lua-socket nginx mosquitto dnsmasq-base iproute2 openssl python3 tshark \
        gnutls-bin nodejs stunnel4 ;;
    luajit) echo luajit ;;
    lua53) echo lua5.3 liblua5.3-dev ;;
    lua54) echo lua5.4 liblua5.4-dev ;;
    debian) echo debootstrap ;;
    demo) echo nginx mosquitto openssl ;;
    bench) echo lua-socket lua-sec lua-luv lua-dkjson libssl-dev openssl ;;
    instructions) echo valgrind libcmocka-dev ;;
    lint) echo clang-format clang-tidy cppcheck lua-check shellcheck libssl-dev ;;
    esac
}

missing_packages()
{
    installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' "$@" 2>/dev/null || true)"
    for package; do
        case $installed in
        *" installed:$package "*) ;;
        *) printf '%s ' "$package" ;;
        esac
    done
}

# need_packages COMMAND GROUP...: returns once every package of these groups is installed.
need_packages()
{
    need_command=$1
    shift
    need_list=
    for need_group; do
        need_list="$need_list $(packages_for "$need_group")"
    done
    if ! is_debian; then
        explain_by_hand "$need_command" "$need_list"
        return
    fi
    # shellcheck disable=SC2086 # a list of words
    [ -z "$(missing_packages $need_list)" ] ||
        with_lock "$(cache_dir)/install.lock" install_missing "$need_command" "$need_list" ||
        exit 1
}

# On a system without apt the packages are the user's business; with both source trees named, go on.
explain_by_hand()
{
    if [ -n "${LWIP_DIR:-}" ] && [ -n "${MBEDTLS_DIR:-}" ]; then
        return
    fi
    die "this is not a Debian system (no apt-get and dpkg here), so dev cannot install what it needs." \
        "Install these by hand; Debian calls them:" \
        "   $2" \
        "and unpack the sources of lwIP 2.2.x and mbedTLS 3.6.x. Then name the two trees:" \
        "    LWIP_DIR=/path/to/lwip MBEDTLS_DIR=/path/to/mbedtls ./dev $1" \
        "or, without dev: cmake --preset release -DLWIP_DIR=... -DMBEDTLS_DIR=... && cmake --build --preset release"
}

# Looks again: whoever held the lock before may have installed them.
install_missing()
{
    # shellcheck disable=SC2086
    need_missing=$(missing_packages $2)
    need_missing=${need_missing% }
    [ -n "$need_missing" ] || return 0
    step "./dev $1 needs Debian packages that are not here yet, installing: $need_missing"
    if [ "$(id -u)" -eq 0 ]; then
        as_root=
    elif command -v sudo >/dev/null 2>&1; then
        as_root='sudo -n'
        if [ -t 0 ]; then
            as_root=sudo
            say "    (with sudo, which may ask for your password)"
        fi
    else
        die "installing packages needs root, and there is no sudo here." \
            "As root, run: apt-get install --no-install-recommends $need_missing" \
            "then ./dev $1 again."
    fi
    need_log=$(mktemp) || exit 1
    # shellcheck disable=SC2086
    if $as_root sh "$root/tools/install-packages.sh" $need_missing >"$need_log" 2>&1; then
        rm -f "$need_log"
        return 0
    fi
    tail -n 15 "$need_log" >&2
    (die_if_full "$need_log" / /usr /var/cache/apt/archives /var/lib/dpkg "${TMPDIR:-/tmp}") || {
        rm -f "$need_log"
        exit 1
    }
    rm -f "$need_log"
    die "installing $need_missing failed; the end of what apt-get said is above." \
        "Check the network and the machine's apt sources, or install them by hand as root:" \
        "    apt-get update && apt-get install --no-install-recommends $need_missing" \
        "then ./dev $1 again."
}
