#!/bin/sh
# tls_server.sh SERVER: what the TLS figures talk to, on 127.0.0.1 only: nginx with an ECDSA and
# with an RSA certificate, both in front of SERVER (bench/server.c compiled). Prints
# "ecdsa=PORT rsa=PORT dir=DIRECTORY" once both listen; the CAs are ecdsa_ca.crt and rsa_ca.crt in
# that directory. Ends when the reader of its output goes away, and leaves nothing behind.
# SPDX-License-Identifier: MIT
set -eu

server=${1:?usage: tls_server.sh SERVER}
PATH=$PATH:/usr/sbin:/sbin
module=/usr/lib/nginx/modules/ngx_stream_module.so
work=
pids=

# shellcheck disable=SC2317 # called by the traps
clean_up()
{
    trap '' INT TERM HUP
    trap - EXIT
    for pid in $pids; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    if [ -n "$work" ]; then
        rm -rf "$work"
    fi
}

fail()
{
    sed 's/^/    /' "$work/log" >&2
    echo "tls_server.sh: $1" >&2
    exit 1
}

# What is started with this ends also when this script is killed, where setpriv can see to that.
if setpriv --pdeathsig KILL true 2>/dev/null; then
    tied='setpriv --pdeathsig KILL'
else
    tied=
fi

# make_certificates KIND OPTION...: a CA and what it signed for 127.0.0.1, of keys that `openssl
# req` makes with these options.
make_certificates()
{
    kind=$1
    shift
    openssl req -x509 -newkey "$@" -nodes -keyout "${kind}_ca.key" -out "${kind}_ca.crt" -days 2 \
        -subj "/CN=bench $kind CA" -addext 'keyUsage = critical, keyCertSign'
    openssl req -newkey "$@" -nodes -keyout "$kind.key" -out "$kind.csr" -subj "/CN=bench $kind"
    openssl x509 -req -in "$kind.csr" -CA "${kind}_ca.crt" -CAkey "${kind}_ca.key" \
        -CAcreateserial -days 2 -extfile server.ext -out "$kind.crt"
}

# Below the ports that the kernel hands out by itself. Whether it is free shows when nginx starts.
pick_port()
{
    echo $((20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000))
}

# The same cipher suite for every client, the server's choice; sessions in tickets only.
nginx_configuration()
{
    # Where it is built in, there is no module to load.
    if [ -f "$module" ]; then
        echo "load_module $module;"
    fi
    echo 'daemon off; master_process off; pid nginx.pid; error_log stderr;'
    echo 'events { worker_connections 4096; }'
    echo 'stream { ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers on;'
    echo 'tcp_nodelay on; proxy_buffer_size 64k;'
    for listener in "ecdsa $1" "rsa $2"; do
        kind=${listener% *}
        echo "server { listen 127.0.0.1:${listener#* } ssl backlog=4096;"
        echo "ssl_certificate $work/$kind.crt; ssl_certificate_key $work/$kind.key;"
        echo "proxy_pass 127.0.0.1:$3; }"
    done
    echo '}'
}

is_listening()
{
    grep -qi "0100007F:$(printf '%04X' "$1") 00000000:0000 0A" /proc/net/tcp
}

# start_nginx BACKEND_PORT: false when it ended at once, because somebody has one of the ports.
start_nginx()
{
    ecdsa_port=$(pick_port)
    rsa_port=$(pick_port)
    nginx_configuration "$ecdsa_port" "$rsa_port" "$1" > nginx.conf
    $tied nginx -e stderr -p "$work/" -c nginx.conf >> log 2>&1 &
    nginx_pid=$!
    polls=0
    while kill -0 "$nginx_pid" 2>/dev/null && [ "$polls" -lt 500 ]; do
        # Both bound first, both listening then: by nobody else, for nginx still runs.
        if is_listening "$ecdsa_port" && is_listening "$rsa_port" && sleep 0.1 &&
            kill -0 "$nginx_pid" 2>/dev/null; then
            pids="$pids $nginx_pid"
            return
        fi
        polls=$((polls + 1))
        sleep 0.02
    done
    kill -KILL "$nginx_pid" 2>/dev/null || true
    return 1
}

trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
work=$(mktemp -d)
cd "$work"
echo 'subjectAltName = IP:127.0.0.1' > server.ext
{
    make_certificates ecdsa ec -pkeyopt ec_paramgen_curve:P-256
    make_certificates rsa rsa:2048
} > log 2>&1 || fail 'openssl does not make the certificates; what it said is above.'

mkfifo ports
$tied "$server" > ports 2>> log &
pids="$pids $!"
# Kept open: the server ends when nobody reads its output any more.
exec 3< ports
read -r line <&3 || fail 'the server behind nginx does not start.'
backend_port=${line#tcp=}
backend_port=${backend_port%% *}
start_nginx "$backend_port" || start_nginx "$backend_port" || start_nginx "$backend_port" ||
    fail 'nginx does not start; what it said is above.'
echo "ecdsa=$ecdsa_port rsa=$rsa_port dir=$work"

# One more only to learn that nobody reads our output any more: then it ends.
$tied "$server" 3<&-
