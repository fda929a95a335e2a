#!/bin/sh
# certificates.sh DIRECTORY: makes what the bench's TLS server shows, unless it is there and valid
# for another day: for KIND ecdsa and rsa a CA, KIND_ca.crt, and KIND.crt with KIND.key for 127.0.0.1.
# SPDX-License-Identifier: MIT
set -eu

directory=${1:?usage: certificates.sh DIRECTORY}

# make_certificates KIND OPTION...: of keys that `openssl req` makes with these options.
make_certificates()
{
    kind=$1
    shift
    openssl req -x509 -newkey "$@" -nodes -keyout "${kind}_ca.key" -out "${kind}_ca.crt" -days 30 \
        -subj "/CN=bench $kind CA" -addext 'keyUsage = critical, keyCertSign'
    openssl req -newkey "$@" -nodes -keyout "$kind.key" -out "$kind.csr" -subj "/CN=bench $kind"
    openssl x509 -req -in "$kind.csr" -CA "${kind}_ca.crt" -CAkey "${kind}_ca.key" \
        -CAcreateserial -days 30 -extfile server.ext -out "$kind.crt"
}

mkdir -p "$directory"
cd "$directory"
if openssl x509 -noout -checkend 86400 -in rsa.crt > log 2>&1; then
    exit 0 # it is the last one that is made
fi
echo 'subjectAltName = IP:127.0.0.1' > server.ext
{
    rm -f rsa.crt
    make_certificates ecdsa ec -pkeyopt ec_paramgen_curve:P-256
    make_certificates rsa rsa:2048
} > log 2>&1 || {
    cat log >&2
    echo 'bench: openssl does not make the certificates; what it said is above.' >&2
    exit 1
}
