#!/bin/sh
# netns.sh COMMAND [ARGS...]: runs COMMAND where nothing can leave the machine: a network namespace
# with only loopback, a resolv.conf and a hosts file of the tests, and a name server for the zone
# "test." (names below). Passes the exit status on and leaves no process behind.
#
# Exits 77 with a message when such a namespace cannot be made here; `netns.sh --check` only says
# whether it can. COMMAND sees SOCKETCORE_NETNS=1, and in SOCKETCORE_TMP a directory that is removed
# when it has ended.
#
# SPDX-License-Identifier: MIT
set -u

fail() {
    echo "netns.sh: $*" >&2
    exit 77
}

write_hosts() {
    cat <<'HOSTS'
127.0.0.1	localhost
::1	localhost ip6-localhost
# a comment, and a name behind tabs
127.0.0.1	hosts-one	hosts-alias	Hosts-Mixed
::1	hosts-six
# the first address refuses whatever listens on 127.0.0.1 only
127.0.0.2	hosts-two
127.0.0.1	hosts-two
HOSTS
}

# What the name server answers. It turns the order of several addresses round at each question.
write_zone() {
    cat <<'ZONE'
127.0.0.1 one.test
::1 six.test
127.0.0.1 both.test
::1 both.test
127.0.0.2 multi.test
127.0.0.3 multi.test
127.0.0.4 multi.test
127.0.0.1 multi.test
127.0.0.2 elsewhere.test
127.0.0.3 elsewhere.test
192.0.2.1 unreachable.test
192.0.2.1 half.test
127.0.0.1 half.test
ZONE
}

# x.many.test is 127.0.0.1 for every x. silent.test, servfail.test and slow.test are passed on to
# peer.c, which never answers, fails, and takes its time.
start_name_server() {
    write_zone >"$dir/zone"
    env -u LD_PRELOAD dnsmasq --conf-file=/dev/null --no-daemon --no-hosts --no-resolv --no-poll \
        --listen-address=127.0.0.1 --bind-interfaces --port=53 --cache-size=0 --no-negcache \
        --addn-hosts="$dir/zone" --local=/test/ --local=/invalid/ --address=/many.test/127.0.0.1 \
        '--server=/silent.test/127.0.0.1#5301' '--server=/servfail.test/127.0.0.1#5302' \
        '--server=/slow.test/127.0.0.1#5303' --dns-forward-max=1000 \
        >"$dir/dnsmasq.log" 2>&1 </dev/null &
    dnsmasq=$!
    tries=0
    until grep -q ':0035 ' /proc/net/udp; do
        tries=$((tries + 1))
        if [ $tries -gt 100 ] || ! kill -0 $dnsmasq 2>/dev/null; then
            cat "$dir/dnsmasq.log" >&2
            fail "the name server did not start"
        fi
        sleep 0.05
    done
}

end() {
    [ -z "$dnsmasq" ] || kill "$dnsmasq" 2>/dev/null
    umount /etc/resolv.conf /etc/hosts 2>/dev/null
    rm -rf "$dir"
}

inside() {
    dnsmasq=
    dir=$(mktemp -d) || fail "no temporary directory"
    trap end EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    ip link set lo up || fail "loopback cannot be brought up"
    # What is sent to 192.0.2.1 gets no answer; every other address has no route.
    ip route add 192.0.2.1 dev lo || fail "a route cannot be added"
    # Small send buffers: otherwise the kernel takes megabytes for a peer that does not read.
    for setting in net/ipv6/conf/lo/disable_ipv6=0 'net/ipv4/tcp_wmem=4096 65536 262144' \
        'net/ipv4/ping_group_range=0 2147483647'; do
        file=/proc/sys/${setting%%=*}
        [ ! -w "$file" ] || echo "${setting#*=}" 2>/dev/null >"$file"
    done
    write_hosts >"$dir/hosts"
    echo 'nameserver 127.0.0.1' >"$dir/resolv.conf"
    for file in hosts resolv.conf; do
        [ -e /etc/$file ] || fail "/etc/$file does not exist, nothing can be mounted over it"
        mount --bind "$dir/$file" /etc/$file || fail "/etc/$file cannot be replaced"
    done
    start_name_server
    SOCKETCORE_NETNS=1
    SOCKETCORE_TMP=$dir
    export SOCKETCORE_NETNS SOCKETCORE_TMP
    # shellcheck disable=SC3045 # dash knows these
    ulimit -n "$(ulimit -Hn)" 2>/dev/null
    "$@"
    exit $?
}

# Prints the flags of unshare that work here: with a process namespace, so that whatever COMMAND
# starts ends with it, where /proc can be mounted.
find_flags() {
    map=
    [ "$(id -u)" = 0 ] || map=-r
    for flags in "--fork --pid --kill-child --mount-proc" ""; do
        status=0
        # shellcheck disable=SC2086
        said=$(unshare $map --net --mount $flags sh -c 'ip link set lo up &&
            mount --bind /etc/hosts /etc/hosts' 2>&1) || status=$?
        if [ $status -eq 0 ]; then
            echo "$map --net --mount $flags"
            return
        fi
    done
    fail "no network namespace can be made here: ${said:-unshare ended with status $status}"
}

[ $# -gt 0 ] || { echo "usage: netns.sh COMMAND [ARGS...]" >&2; exit 2; }
[ "$1" != --inside ] || { shift; inside "$@"; }
[ "$1" = --check ] || [ -z "${SOCKETCORE_NETNS:-}" ] || exec "$@"
PATH=$PATH:/usr/sbin:/sbin
export PATH
for tool in unshare ip dnsmasq; do
    command -v $tool >/dev/null || fail "$tool is missing (packages util-linux, iproute2, dnsmasq-base)"
done
flags=$(find_flags) || exit 77
[ "$1" != --check ] || exit 0
# shellcheck disable=SC2086
exec unshare $flags -- "$0" --inside "$@"
