#!/bin/sh
# install-packages.sh PACKAGE...: run as root. Installs them and leaves no server of theirs running
# or enabled: this project starts the servers it needs by itself, on ports of its own.
# SPDX-License-Identifier: MIT
set -eu

policy=/usr/sbin/policy-rc.d
own_policy=
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

remove_policy()
{
    if [ -n "$own_policy" ]; then
        rm -f "$policy"
        own_policy=
    fi
}

# Denies starting services while packages are set up. A policy that the machine has stays.
deny_starts()
{
    if [ -e "$policy" ] || [ -L "$policy" ]; then
        return
    fi
    trap remove_policy EXIT
    trap 'exit 130' HUP INT TERM
    own_policy=yes
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
}

# Packages enable their service as they are set up; what was not there before is turned off again.
turn_off()
{
    for service; do
        if command -v systemctl >/dev/null 2>&1; then
            systemctl disable "$service.service" || true
        elif command -v update-rc.d >/dev/null 2>&1; then
            update-rc.d "$service" disable || true
        fi
        if [ -z "$own_policy" ] && command -v invoke-rc.d >/dev/null 2>&1; then
            invoke-rc.d "$service" stop || true
        fi
    done
}

servers=
for package; do
    case $package in
    nginx | mosquitto | stunnel4) servers="$servers $package" ;;
    esac
done

apt-get -q update ||
    echo 'apt-get update did not reach every source; trying with what it got'
if [ -n "$servers" ]; then
    deny_starts
fi
apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends "$@"
# shellcheck disable=SC2086 # a list of words
turn_off $servers
