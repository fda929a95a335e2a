/*
 * The two files of the PC that TLS uses: the system's CA bundle and the key log of SSLKEYLOGFILE.
 *
 * SPDX-License-Identifier: MIT
 */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Debian and its kin, Fedora and its kin, SUSE. */
static const char *const bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
};

/* Script thread only. */
static char *bundle;

static char *read_whole(const char *path, size_t *length)
{
    FILE *file = fopen(path, "re");
    struct stat status;
    char *text = NULL;

    if (!file) {
        if (errno == ENOMEM)
            sc_host_note_failed_allocation();
        return NULL;
    }
    if (fstat(fileno(file), &status) == 0 && status.st_size > 0) {
        text = malloc((size_t)status.st_size);
        if (!text)
            sc_host_note_failed_allocation();
    }
    if (text)
        *length = fread(text, 1, (size_t)status.st_size, file);
    fclose(file);
    return text;
}

bool sc_port_ca_bundle(const void **data, size_t *length)
{
    const char *chosen = getenv("SSL_CERT_FILE");

    free(bundle);
    bundle = NULL;
    if (chosen && *chosen) /* and no other: whoever names one does not trust the rest */
        bundle = read_whole(chosen, length);
    else
        for (size_t i = 0; !bundle && i < sizeof(bundles) / sizeof(bundles[0]); i++)
            bundle = read_whole(bundles[i], length);
    *data = bundle;
    return bundle != NULL;
}

/* The engine's thread only. Opened for each line, as secrets are few and the file may be moved. */
bool sc_port_key_log(const char *line)
{
    const char *path = getenv("SSLKEYLOGFILE");

    if (!path || !*path)
        return false;
    if (!line)
        return true;
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return false;
    /* In one call, so that lines of several processes do not mix. */
    struct iovec parts[] = {
        { .iov_base = (char *)(size_t)line, .iov_len = strlen(line) },
        { .iov_base = "\n", .iov_len = 1 },
    };
    ssize_t written = writev(file, parts, 2);
    close(file);
    return written > 0;
}
