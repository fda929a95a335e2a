/*
 * The other end of the bench's TLS figures, see serve.h: OpenSSL, with the certificates ecdsa.crt
 * and rsa.crt and the keys ecdsa.key and rsa.key of the directory it is given. A port of its own
 * for each of
 *
 *   ecdsa, rsa          TLS 1.3 and AES-256-GCM, by the certificate's key
 *   ecdsa12, rsa12      the same in TLS 1.2
 *   chacha              TLS 1.3, ChaCha20-Poly1305, ECDSA
 *
 * One cipher at each, so that every client has the same. It prints them as "ecdsa=PORT rsa=PORT
 * ..." once it listens.
 *
 * SPDX-License-Identifier: MIT
 */
#include "serve.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#define READ_AHEAD (128 << 10) /* bytes that are taken from the kernel at a time */

struct offer {
    const char *name;
    const char *certificate;
    int version;
    const char *cipher; /* of this version */
};

static const struct offer offers[] = {
    { "ecdsa", "ecdsa", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384" },
    { "rsa", "rsa", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384" },
    { "ecdsa12", "ecdsa", TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384" },
    { "rsa12", "rsa", TLS1_2_VERSION, "ECDHE-RSA-AES256-GCM-SHA384" },
    { "chacha", "ecdsa", TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256" },
};

static void *open_tls(int fd, void *context)
{
    SSL *ssl = SSL_new(context);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_accept_state(ssl);
    return ssl;
}

/* What a socket would have returned. A client that goes away without a word is no error. */
static ssize_t translate(SSL *ssl, int result)
{
    if (result > 0)
        return result;
    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        SSL_shutdown(ssl);
        return 0;
    default:
        ERR_clear_error();
        return 0;
    }
}

static int clipped(size_t length)
{
    return length > INT_MAX ? INT_MAX : (int)length;
}

static ssize_t receive_tls(int fd, void *state, void *data, size_t length)
{
    (void)fd;
    return translate(state, SSL_read(state, data, clipped(length)));
}

static ssize_t send_tls(int fd, void *state, const void *data, size_t length)
{
    (void)fd;
    ssize_t sent = translate(state, SSL_write(state, data, clipped(length)));
    if (sent == 0) {
        errno = EPIPE;
        return -1;
    }
    return sent;
}

static void close_tls(void *state)
{
    SSL_free(state);
}

static const struct serve_transport serve_tls = {
    .open = open_tls,
    .receive = receive_tls,
    .send = send_tls,
    .close = close_tls,
    .keeps_input = true,
};

static SSL_CTX *make_context(const struct offer *offer, const char *directory)
{
    char certificate[PATH_MAX], key[PATH_MAX];
    snprintf(certificate, sizeof certificate, "%s/%s.crt", directory, offer->certificate);
    snprintf(key, sizeof key, "%s/%s.key", directory, offer->certificate);
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, offer->version) != 1 ||
        SSL_CTX_set_max_proto_version(context, offer->version) != 1 ||
        (offer->version == TLS1_3_VERSION ? SSL_CTX_set_ciphersuites(context, offer->cipher)
                                          : SSL_CTX_set_cipher_list(context, offer->cipher)) != 1 ||
        SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        serve_die(offer->name);
    }
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_AHEAD);
    return context;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: tls_server DIRECTORY\n");
        return 2;
    }
    serve_start();
    for (size_t i = 0; i < sizeof offers / sizeof *offers; i++) {
        SSL_CTX *context = make_context(&offers[i], argv[1]);
        printf("%s=%u ", offers[i].name, serve_tcp(&serve_tls, context));
    }
    puts("");
    if (fflush(stdout) != 0)
        serve_die("stdout");
    serve_forever();
}
