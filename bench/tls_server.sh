#!/bin/sh
# tls_server.sh SERVER: what the TLS figures talk to, on 127.0.0.1 only: nginx in front of SERVER
# (bench/server.c compiled), at a port of its own for each of
#
#   ecdsa, rsa          TLS 1.3 and AES-256-GCM, by the certificate's key
#   ecdsa12, rsa12      the same in TLS 1.2
#   chacha              TLS 1.3, ChaCha20-Poly1305, ECDSA
#
# Prints "ecdsa=PORT rsa=PORT ecdsa12=PORT rsa12=PORT chacha=PORT pids=PID,PID dir=DIRECTORY" once
# all listen; the CAs are ecdsa_ca.crt and rsa_ca.crt in that directory. Ends when the reader of its
# output goes away, and leaves nothing behind.
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
    tail -n 15 "$work/log" | sed 's/^/    /' >&2
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

# listener PORT KIND BACKEND_PORT PROTOCOL CIPHERS: one cipher, the same for every client. CIPHERS is
# OpenSSL's option and value.
listener()
{
    cat << END
    server {
        listen 127.0.0.1:$1 ssl backlog=4096;
        ssl_certificate $work/$2.crt;
        ssl_certificate_key $work/$2.key;
        ssl_protocols $4;
        $5;
        proxy_pass 127.0.0.1:$3;
    }
END
}

# nginx_configuration BACKEND_PORT
nginx_configuration()
{
    # Where it is built in, there is no module to load.
    if [ -f "$module" ]; then
        echo "load_module $module;"
    fi
    echo 'daemon off; master_process off; pid nginx.pid; error_log stderr;'
    echo 'worker_rlimit_nofile 16384; events { worker_connections 16384; }'
    echo 'stream {'
    echo '    tcp_nodelay on; proxy_buffer_size 64k;'
    gcm='ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384'
    listener "$ecdsa" ecdsa "$1" TLSv1.3 "$gcm"
    listener "$rsa" rsa "$1" TLSv1.3 "$gcm"
    listener "$ecdsa12" ecdsa "$1" TLSv1.2 'ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384'
    listener "$rsa12" rsa "$1" TLSv1.2 'ssl_ciphers ECDHE-RSA-AES256-GCM-SHA384'
    listener "$chacha" ecdsa "$1" TLSv1.3 \
        'ssl_conf_command Ciphersuites TLS_CHACHA20_POLY1305_SHA256'
    echo '}'
}

is_listening()
{
    grep -qi "0100007F:$(printf '%04X' "$1") 00000000:0000 0A" /proc/net/tcp
}

all_listen()
{
    for port in "$ecdsa" "$rsa" "$ecdsa12" "$rsa12" "$chacha"; do
        is_listening "$port" || return 1
    done
}

# start_nginx BACKEND_PORT: false when it ended at once, because somebody has one of the ports.
start_nginx()
{
    ecdsa=$(pick_port)
    rsa=$(pick_port)
    ecdsa12=$(pick_port)
    rsa12=$(pick_port)
    chacha=$(pick_port)
    nginx_configuration "$1" > nginx.conf
    $tied nginx -e stderr -p "$work/" -c nginx.conf >> log 2>&1 &
    nginx_pid=$!
    polls=0
    while kill -0 "$nginx_pid" 2>/dev/null && [ "$polls" -lt 500 ]; do
        # Somebody else's? Then nginx cannot bind and ends.
        if all_listen && sleep 0.1 && kill -0 "$nginx_pid" 2>/dev/null; then
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
backend_pid=$!
pids="$pids $backend_pid"
# Kept open: the server ends when nobody reads its output any more.
exec 3< ports
read -r line <&3 || fail 'the server behind nginx does not start.'
backend_port=${line#tcp=}
backend_port=${backend_port%% *}
start_nginx "$backend_port" || start_nginx "$backend_port" || start_nginx "$backend_port" ||
    fail 'nginx does not start; what it said is above.'
echo "ecdsa=$ecdsa rsa=$rsa ecdsa12=$ecdsa12 rsa12=$rsa12 chacha=$chacha" \
    "pids=$nginx_pid,$backend_pid dir=$work"

# One more only to learn that nobody reads our output any more: then it ends. In the background, so
# that signals are heeded meanwhile.
$tied "$server" 3<&- &
pids="$pids $!"
wait "$!"
