/*
 * The bench's mbedTLS side: what the library itself can do, with the project's configuration of
 * it, on blocking sockets of the kernel. Every server is verified, as on the other sides.
 *
 * SPDX-License-Identifier: MIT
 */
#include "limit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "mbedtls/ssl.h"
#include "mbedtls/x509_crt.h"
#include "psa/crypto.h"

static mbedtls_ssl_config config;
static mbedtls_ssl_session session; /* of the last connection, to be resumed */
static bool has_session;
static unsigned char data[SEND_SIZE];

/* What the project's configuration of mbedTLS wants from outside. */

void *sc_mbedtls_calloc(size_t count, size_t size)
{
    return calloc(count, size);
}

void sc_lwip_free(void *memory)
{
    free(memory);
}

static int fill_random(void *context, unsigned char *out, size_t length)
{
    (void)context;
    while (length > 0) {
        ssize_t got = getrandom(out, length, 0);
        if (got < 0)
            return MBEDTLS_ERR_SSL_NO_RNG;
        out += got;
        length -= (size_t)got;
    }
    return 0;
}

psa_status_t mbedtls_psa_external_get_random(mbedtls_psa_external_random_context_t *context,
                                             uint8_t *output, size_t output_size,
                                             size_t *output_length)
{
    *output_length = output_size;
    return fill_random(context, output, output_size) == 0 ? PSA_SUCCESS
                                                          : PSA_ERROR_INSUFFICIENT_ENTROPY;
}

_Noreturn static void die(const char *what, int error)
{
    printf("%s: error -0x%x\n", what, (unsigned)-error);
    exit(1);
}

/* ---- one connection ---- */

struct connection {
    int fd;
    mbedtls_ssl_context ssl;
};

static int send_some(void *context, const unsigned char *bytes, size_t length)
{
    ssize_t sent = send(((struct connection *)context)->fd, bytes, length, MSG_NOSIGNAL);
    return sent < 0 ? MBEDTLS_ERR_SSL_INTERNAL_ERROR : (int)sent;
}

static int receive_some(void *context, unsigned char *bytes, size_t length)
{
    ssize_t got = recv(((struct connection *)context)->fd, bytes, length, 0);
    return got < 0 ? MBEDTLS_ERR_SSL_INTERNAL_ERROR : (int)got;
}

static int open_tcp(void)
{
    struct sockaddr_in name = { .sin_family = AF_INET,
                                .sin_port = htons((uint16_t)limit_options.tcp_port) };
    struct timeval limit = { .tv_sec = TIMEOUT };
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        connect(fd, (struct sockaddr *)&name, sizeof name) < 0)
        limit_die("connect");
    return fd;
}

static void open_tls(struct connection *c, bool resumes)
{
    c->fd = open_tcp();
    mbedtls_ssl_init(&c->ssl);
    int error = mbedtls_ssl_setup(&c->ssl, &config);
    if (error == 0)
        error = mbedtls_ssl_set_hostname(&c->ssl, NULL);
    if (error == 0 && resumes && has_session)
        error = mbedtls_ssl_set_session(&c->ssl, &session);
    if (error != 0)
        die("setup", error);
    mbedtls_ssl_set_bio(&c->ssl, c, send_some, receive_some, NULL);
    do {
        error = mbedtls_ssl_handshake(&c->ssl);
    } while (error == MBEDTLS_ERR_SSL_WANT_READ || error == MBEDTLS_ERR_SSL_WANT_WRITE);
    if (error != 0)
        die("handshake", error);
}

static void close_tls(struct connection *c)
{
    mbedtls_ssl_close_notify(&c->ssl);
    mbedtls_ssl_free(&c->ssl);
    close(c->fd);
}

static void send_all(struct connection *c, const unsigned char *bytes, size_t length)
{
    while (length > 0) {
        int sent = mbedtls_ssl_write(&c->ssl, bytes, length);
        if (sent < 0)
            die("write", sent);
        bytes += sent;
        length -= (size_t)sent;
    }
}

/* Keeps the session for the next connection. */
static void keep_session(struct connection *c)
{
    mbedtls_ssl_session_free(&session);
    mbedtls_ssl_session_init(&session);
    int error = mbedtls_ssl_get_session(&c->ssl, &session);
    if (error != 0)
        die("get_session", error);
    has_session = true;
}

static void receive_all(struct connection *c, size_t length)
{
    while (length > 0) {
        int got = mbedtls_ssl_read(&c->ssl, data, length);
        if (got == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
            keep_session(c);
            continue;
        }
        if (got == MBEDTLS_ERR_SSL_WANT_READ) /* it was no data: a message of TLS 1.3 */
            continue;
        if (got <= 0)
            die("read", got);
        length -= (size_t)got;
    }
}

static void command(struct connection *c, const char *verb, long bytes)
{
    char line[64];
    int length = snprintf(line, sizeof line, "%s %ld\n", verb, bytes);
    send_all(c, (unsigned char *)line, (size_t)length);
}

/* ---- what is measured ---- */

static void do_full(long n)
{
    struct connection c;
    limit_begin();
    for (long i = 0; i < n; i++) {
        open_tls(&c, false);
        close_tls(&c);
    }
    limit_end();
}

/* In TLS 1.3 the next session's ticket comes after the handshake: so one byte is asked for. In TLS
 * 1.2 it is there already. */
static void reconnect(void)
{
    struct connection c;
    open_tls(&c, true);
    command(&c, "source", 1);
    if (mbedtls_ssl_get_version_number(&c.ssl) == MBEDTLS_SSL_VERSION_TLS1_2 && !has_session)
        keep_session(&c);
    receive_all(&c, 1);
    close_tls(&c);
}

static void do_resume(long n)
{
    reconnect();
    if (!has_session)
        die("the server gave no session", 0);
    limit_begin();
    for (long i = 0; i < n; i++)
        reconnect();
    limit_end();
}

static void do_send(long n)
{
    struct connection c;
    open_tls(&c, false);
    command(&c, "sink", n * SEND_SIZE);
    limit_begin();
    for (long i = 0; i < n; i++)
        send_all(&c, data, SEND_SIZE);
    receive_all(&c, 1);
    limit_end();
    close_tls(&c);
}

static void do_receive(long n)
{
    struct connection c;
    open_tls(&c, false);
    limit_begin();
    command(&c, "source", n * READ_SIZE);
    for (long i = 0; i < n; i++)
        receive_all(&c, READ_SIZE);
    limit_end();
    close_tls(&c);
}

static void read_ca(mbedtls_x509_crt *ca)
{
    static unsigned char pem[65536];
    FILE *file = fopen(limit_options.ca_file, "rb");
    size_t length = file ? fread(pem, 1, sizeof pem - 1, file) : 0;
    if (length == 0)
        limit_die("the CA's file");
    fclose(file);
    int error = mbedtls_x509_crt_parse(ca, pem, length + 1);
    if (error != 0)
        die("the CA", error);
}

static void configure(void)
{
    static mbedtls_x509_crt ca;
    if (psa_crypto_init() != PSA_SUCCESS)
        die("psa_crypto_init", 0);
    mbedtls_x509_crt_init(&ca);
    mbedtls_ssl_session_init(&session);
    mbedtls_ssl_config_init(&config);
    read_ca(&ca);
    int error = mbedtls_ssl_config_defaults(
        &config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    if (error != 0)
        die("configuration", error);
    mbedtls_ssl_conf_rng(&config, fill_random, NULL);
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(&config, &ca, NULL);
    mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
        &config, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
}

int main(int argc, char **argv)
{
    static const struct limit_figure figures[] = {
        { "tls_full", LIMIT_RATE, 1, 3000, do_full },
        { "tls_resume", LIMIT_RATE, 1, 3000, do_resume },
        { "tls_send", LIMIT_RATE, SEND_SIZE / 1e6, 0, do_send },
        { "tls_send8", LIMIT_RATE, SEND_SIZE / 1e6, 0, do_send },
        { "tls_receive", LIMIT_RATE, READ_SIZE / 1e6, 0, do_receive },
        { NULL, LIMIT_RATE, 0, 0, NULL },
    };
    return limit_main(argc, argv, figures, configure);
}
