/*
 * The bench's mbedTLS side: what the library itself can do, with the project's configuration of
 * it, on blocking sockets of the kernel. Only full handshakes with verification; what is sent over
 * them is no business of it. Started like the Lua sides:
 *
 *   limit_mbedtls FIGURE TCP_PORT UDP_PORT SECONDS CA_FILE
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "mbedtls/ssl.h"
#include "mbedtls/x509_crt.h"
#include "psa/crypto.h"

#define TIMEOUT 10 /* seconds that any one answer may take */

/* What the project's configuration of mbedTLS wants from outside. */

void *sc_lwip_calloc(size_t count, size_t size)
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

static void die(const char *what, int error)
{
    printf("%s: error -0x%x\n", what, (unsigned)-error);
    exit(1);
}

static int send_some(void *context, const unsigned char *data, size_t length)
{
    ssize_t sent = send(*(int *)context, data, length, MSG_NOSIGNAL);
    return sent < 0 ? MBEDTLS_ERR_SSL_INTERNAL_ERROR : (int)sent;
}

static int receive_some(void *context, unsigned char *data, size_t length)
{
    ssize_t got = recv(*(int *)context, data, length, 0);
    return got < 0 ? MBEDTLS_ERR_SSL_INTERNAL_ERROR : (int)got;
}

static int connect_to(int port)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct timeval limit = { .tv_sec = TIMEOUT };
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        connect(fd, (struct sockaddr *)&name, sizeof name) < 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

static void handshake(const mbedtls_ssl_config *config, int port)
{
    int fd = connect_to(port);
    mbedtls_ssl_context ssl;
    mbedtls_ssl_init(&ssl);
    int error = mbedtls_ssl_setup(&ssl, config);
    if (error == 0)
        error = mbedtls_ssl_set_hostname(&ssl, NULL);
    if (error != 0)
        die("setup", error);
    mbedtls_ssl_set_bio(&ssl, &fd, send_some, receive_some, NULL);
    do {
        error = mbedtls_ssl_handshake(&ssl);
    } while (error == MBEDTLS_ERR_SSL_WANT_READ || error == MBEDTLS_ERR_SSL_WANT_WRITE);
    if (error != 0)
        die("handshake", error);
    mbedtls_ssl_close_notify(&ssl);
    mbedtls_ssl_free(&ssl);
    close(fd);
}

static char *read_file(const char *name, size_t *length)
{
    static char content[65536];
    FILE *file = fopen(name, "rb");
    if (file == NULL) {
        perror(name);
        exit(1);
    }
    *length = fread(content, 1, sizeof content - 1, file);
    fclose(file);
    return content;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Handshakes a second, of as many as take so many seconds. */
static double rate(const mbedtls_ssl_config *config, int port, double seconds)
{
    double start = now(), took;
    int count = 0;
    do {
        handshake(config, port);
        count++;
        took = now() - start;
    } while (took < seconds);
    return count / took;
}

int main(int argc, char **argv)
{
    mbedtls_ssl_config config;
    mbedtls_x509_crt ca;
    size_t length;

    if (argc != 6) {
        fprintf(stderr, "usage: limit_mbedtls FIGURE TCP_PORT UDP_PORT SECONDS CA_FILE\n");
        return 2;
    }
    if (strcmp(argv[1], "tls_ecdsa") != 0 && strcmp(argv[1], "tls_rsa") != 0) {
        puts("none");
        return 0;
    }
    if (psa_crypto_init() != PSA_SUCCESS)
        die("psa_crypto_init", 0);
    mbedtls_x509_crt_init(&ca);
    mbedtls_ssl_config_init(&config);
    char *pem = read_file(argv[5], &length);
    int error = mbedtls_x509_crt_parse(&ca, (unsigned char *)pem, length + 1);
    if (error == 0)
        error =
            mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT,
                                        MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    if (error != 0)
        die("configuration", error);
    mbedtls_ssl_conf_rng(&config, fill_random, NULL);
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(&config, &ca, NULL);
    printf("value %.6g\n", rate(&config, atoi(argv[2]), atof(argv[4])));
    mbedtls_ssl_config_free(&config);
    mbedtls_x509_crt_free(&ca);
    return 0;
}
