#!/bin/sh
# demo.sh BUILD_DIR: starts real servers on loopback and runs the firmware-style scripts beside this
# file against them. `./dev demo` calls it with everything built. It ends every process that it
# started, however it ends, and leaves nothing behind. Exit status 0 only if all of it worked.
# SPDX-License-Identifier: MIT
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
root=$(dirname -- "$here")
build=$(CDPATH='' cd -- "${1:?usage: demo.sh BUILD_DIR}" && pwd -P)
PATH=$PATH:/usr/sbin:/sbin

start_limit=10 # seconds that a server may take until it listens
work=
pids=
results=
failures=0

fail()
{
    printf '\ndemo: %s\n' "$1" >&2
    shift
    for line; do
        printf '      %s\n' "$line" >&2
    done
    exit 1
}

# ---- processes ----

# shellcheck source=tools/lib.sh
. "$root/tools/lib.sh"

# shellcheck disable=SC2317 # called by the traps
clean_up()
{
    trap '' INT TERM HUP
    trap - EXIT
    for pid in $pids; do
        kill "$pid" 2>/dev/null || true
    done
    # Who does not listen is not asked again.
    waited=0
    for pid in $pids; do
        while kill -0 "$pid" 2>/dev/null && [ "$waited" -lt 100 ]; do
            waited=$((waited + 1))
            sleep 0.02
        done
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    if [ -n "$work" ]; then
        rm -rf "$work"
    fi
}

# What is started with this ends also when this script is killed, where setpriv can see to that.
if setpriv --pdeathsig KILL true 2>/dev/null; then
    tied='setpriv --pdeathsig KILL'
else
    tied=
fi

# start NAME CMD...: in the background, its output in a file. Sets `pid`.
start()
{
    start_name=$1
    shift
    $tied "$@" > "$work/$start_name.out" 2>&1 &
    pid=$!
    pids="$pids $pid"
}

is_alive()
{
    case $(sed -n 's/^State:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null) in
    '' | [ZX]*) return 1 ;;
    esac
}

# ---- ports ----

# inode_at PORT: of the socket that listens on this port of 127.0.0.1; nothing when none does.
inode_at()
{
    awk -v "want=0100007F:$(printf '%04X' "$1")" '$2 == want && $4 == "0A" { print $10 }' \
        /proc/net/tcp
}

# is_listening PID PORT: is it this very process that listens there?
is_listening()
{
    inode=$(inode_at "$2")
    [ -n "$inode" ] || return 1
    for descriptor in "/proc/$1/fd/"*; do
        if [ "$(readlink "$descriptor")" = "socket:[$inode]" ]; then
            return 0
        fi
    done
    return 1
}

# Below the ports that the kernel hands out by itself. Sets `port`.
pick_port()
{
    while :; do
        port=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000))
        if [ -z "$(inode_at "$port")" ]; then
            return
        fi
    done
}

# start_on_port NAME FUNCTION: FUNCTION starts the server on $port. Somebody may take the port
# between our look and the server's: then with another port. Sets `port`.
start_on_port()
{
    printf '  starting %-16s' "$1"
    tries=0
    while [ "$tries" -lt 3 ]; do
        tries=$((tries + 1))
        pick_port
        "$2"
        polls=0
        while is_alive "$pid" && [ "$polls" -lt $((start_limit * 50)) ]; do
            if is_listening "$pid" "$port"; then
                printf '127.0.0.1:%s\n' "$port"
                return
            fi
            polls=$((polls + 1))
            sleep 0.02
        done
        kill "$pid" 2>/dev/null || true
    done
    echo
    sed 's/^/    /' "$work/$1.out" >&2
    fail "$1 does not start; what it said is above."
}

# ---- the servers ----

# A CA, and what it signed: a certificate for this machine's servers and one for a client.
make_certificates()
{
    mkdir "$work/pki"
    (
        cd "$work/pki"
        echo 'subjectAltName = DNS:localhost, IP:127.0.0.1' > server.ext
        echo 'extendedKeyUsage = clientAuth' > client.ext
        new_key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
        # shellcheck disable=SC2086 # a list of words
        {
            openssl req -x509 $new_key -keyout ca.key -out ca.crt -days 2 -subj '/CN=demo CA' \
                -addext 'keyUsage = critical, keyCertSign'
            for name in server client; do
                openssl req $new_key -keyout $name.key -out $name.csr -subj "/CN=demo $name"
                openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
                    -extfile $name.ext -out $name.crt
            done
        }
    ) > "$work/pki.out" 2>&1 || {
        sed 's/^/    /' "$work/pki.out" >&2
        fail "openssl does not make the certificates; what it said is above."
    }
}

# start_nginx NAME [LINE]: serves www on $port; LINE is one more of its configuration.
start_nginx()
{
    mkdir -p "$work/$1/www"
    cp "$here/www/index.html" "$work/$1/www/"
    cat > "$work/$1/nginx.conf" << END
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events { }
http {
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    types { text/html html; }
    ${2:-access_log off;}
    server {
        listen 127.0.0.1:$port${2:+ ssl};
        root www;
    }
}
END
    start "$1" nginx -e stderr -p "$work/$1/" -c nginx.conf
}

run_nginx()
{
    start_nginx nginx
}

# Its log says of each request whether the session was resumed: "r", else ".".
run_nginx_tls()
{
    start_nginx nginx-tls "
    ssl_certificate $work/pki/server.crt;
    ssl_certificate_key $work/pki/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    log_format tls '\$ssl_session_reused';
    access_log sessions tls;"
}

# start_mosquitto NAME [LINE]: listens on $port; LINE is one more of its configuration.
start_mosquitto()
{
    {
        echo "listener $port 127.0.0.1"
        echo 'allow_anonymous true'
        echo 'persistence false'
        # Root would become the user mosquitto, which need not exist.
        if [ "$(id -u)" -eq 0 ]; then
            echo 'user root'
        fi
        echo "${2:-}"
    } > "$work/$1.conf"
    start "$1" mosquitto -c "$work/$1.conf"
}

run_mosquitto()
{
    start_mosquitto mosquitto
}

run_mosquitto_tls()
{
    start_mosquitto mosquitto-tls "cafile $work/pki/ca.crt
certfile $work/pki/server.crt
keyfile $work/pki/server.key
require_certificate true"
}

# It takes any free ports and says which. Sets echo_tcp and echo_udp.
start_echo_server()
{
    printf '  starting %-16s' 'echo server'
    with_lock "$build.lock" cmake --build "$build" --target bench_server -- --quiet \
        > "$work/build.out" 2>&1 || {
        cat "$work/build.out" >&2
        fail "bench/server.c does not build; the messages are above."
    }
    mkfifo "$work/ports"
    $tied "$build/bench/server" > "$work/ports" &
    pids="$pids $!"
    # Kept open: the server ends when nobody reads its output any more.
    exec 3< "$work/ports"
    read -r ports <&3 || fail "the echo server does not start."
    echo_tcp=${ports#tcp=}
    echo_tcp=${echo_tcp%% *}
    echo_udp=${ports##*udp=}
    printf '127.0.0.1:%s, UDP %s\n' "$echo_tcp" "$echo_udp"
}

# ---- the steps ----

now_ms()
{
    echo $(($(date +%s%N) / 1000000))
}

# step WHAT SECONDS SCRIPT [args]: runs a script of this directory, which has so long at most.
step()
{
    what=$1
    limit=$2
    script=$3
    shift 3
    printf '\n== %s (%s)\n' "$what" "$script"
    begin=$(now_ms)
    status=0
    # In the background, so that Ctrl-C is heeded while it runs.
    # shellcheck disable=SC2086 # nothing, or a few words
    $tied timeout -k 2 "$limit" $tied lua5.1 "$here/$script" "$@" < /dev/null &
    pid=$!
    pids="$pids $pid"
    wait "$pid" || status=$?
    pids=${pids% "$pid"}
    took=$(($(now_ms) - begin))
    case $status in
    0) result=ok ;;
    124 | 137) result="FAILED: not done within $limit s" ;;
    *) result="FAILED: exit status $status" ;;
    esac
    note "$what" "$result"
}

# same WHAT FILE FILE: are they byte for byte the same? A result of its own.
same()
{
    begin=$(now_ms)
    if cmp "$2" "$3"; then
        result=ok
    else
        result='FAILED: they differ'
    fi
    took=$(($(now_ms) - begin))
    note "$1" "$result"
}

note()
{
    results="$results$(printf '  %-44s %6s ms  %s' "$1" "$took" "$2")
"
    case $2 in
    ok) ;;
    *)
        printf '   %s\n' "$2"
        failures=$((failures + 1))
        ;;
    esac
}

for module in socketcore rtos; do
    [ -f "$build/$module.so" ] || fail "there is no $module.so in $build." "Run ./dev build first."
done
for program in nginx mosquitto openssl lua5.1 timeout; do
    command -v "$program" > /dev/null || fail "there is no $program on this system."
done

trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
work=$(mktemp -d)
unset LUA_INIT
LUA_PATH="$root/lua/?.lua;;"
LUA_CPATH="$build/?.so;;"
export LUA_PATH LUA_CPATH

echo 'Servers on this machine:'
make_certificates
start_on_port nginx run_nginx
nginx_port=$port
start_on_port mosquitto run_mosquitto
mqtt_port=$port
start_on_port nginx-tls run_nginx_tls
https_port=$port
start_on_port mosquitto-tls run_mosquitto_tls
mqtts_port=$port
start_echo_server

echo
echo 'Firmware scripts, over lwIP:'
step 'HTTP: a page from nginx' 20 http_get.lua 127.0.0.1 "$nginx_port" / "$work/page"
same 'HTTP: the body is the file, byte for byte' "$here/www/index.html" "$work/page"
step 'HTTPS: the page, twice' 20 https_get.lua localhost "$https_port" / "$work/pki/ca.crt" \
    "$work/https_page"
same 'HTTPS: the body is the file, byte for byte' "$here/www/index.html" "$work/https_page"
printf '.\nr\n' > "$work/sessions"
# nginx writes a line after the client has all of the response.
polls=0
while [ "$(wc -l < "$work/nginx-tls/sessions")" -lt 2 ] && [ "$polls" -lt 50 ]; do
    polls=$((polls + 1))
    sleep 0.02
done
same 'HTTPS: nginx resumed the second session' "$work/sessions" "$work/nginx-tls/sessions"
step 'TCP: 1 MB there and back' 30 upload_echo.lua 127.0.0.1 "$echo_tcp"
step 'MQTT: subscribe, publish, receive' 30 mqtt.lua 127.0.0.1 "$mqtt_port"
step 'MQTT over TLS, with a client certificate' 30 mqtt.lua 127.0.0.1 "$mqtts_port" \
    "$work/pki/ca.crt" "$work/pki/client.crt" "$work/pki/client.key"
step 'UDP: 100 round trips' 30 udp_echo.lua 127.0.0.1 "$echo_udp" 100
step 'ICMP: echo from the gateway, RAW socket' 20 ping.lua 10.0.2.2

printf '\n%s' "$results"
if [ "$failures" -gt 0 ]; then
    fail "$failures of the steps failed; what they said is above."
fi
echo
echo 'All of it worked.'
