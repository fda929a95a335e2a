/*
 * One side of the comparison: the same operations with socketcore and with lwIP's sockets.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_INSTRUCTIONS_SIDE_H
#define SC_INSTRUCTIONS_SIDE_H

#include <stddef.h>

struct side {
    const char *name;
    void (*start)(void);
    void (*open)(void);                            /* connects to the peer; one at a time */
    void (*send)(const void *data, size_t length); /* all of it */
    void (*receive)(void *data, size_t length);    /* exactly so many bytes */
    void (*close)(void);
};

extern const struct side side_socketcore;
extern const struct side side_sockets;

#endif
