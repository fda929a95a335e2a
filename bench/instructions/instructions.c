/*
 * Performs each operation a number of times on one side, to be run by callgrind: a dump of the
 * instructions for each operation, under its name. ./dev instructions runs it and reads the dumps.
 *
 *     instructions socketcore|sockets ROUNDS
 *
 * Between two operations the device comes to rest, so that whatever an operation has set off
 * (acknowledgements, window updates, memory given back) is counted with it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "machine.h"
#include "peer.h"
#include "side.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <valgrind/callgrind.h>

#define WARM_UP                                                                                    \
    30 /* pools, ports and the connections in TIME_WAIT are as they stay, after this               \
        */
#define LENGTH_MAX 1024

static unsigned char data[LENGTH_MAX];

unsigned int sc_port_random(void);
unsigned int sc_port_random(void)
{
    static unsigned int state = 12345;

    return state += 2654435761U;
}

/* ---- operations ---- */

static void send_one(const struct side *side, size_t length)
{
    size_t before = peer_received();

    for (size_t i = 0; i < length; i++)
        data[i] = (unsigned char)(before + i);
    side->send(data, length);
    machine_rest();
    if (peer_received() != before + length)
        machine_abort("what was sent has not arrived");
}

static void receive_one(const struct side *side, size_t length)
{
    peer_send(length);
    side->receive(data, length);
    for (size_t i = 1; i < length; i++)
        if (data[i] != (unsigned char)(data[0] + i))
            machine_abort("what was received is damaged");
    machine_rest();
}

static void connect_one(const struct side *side, size_t unused)
{
    (void)unused;
    side->open();
    side->close();
    machine_rest();
    if (!peer_is_closed())
        machine_abort("the connection is not closed");
}

struct operation {
    const char *name;
    void (*run)(const struct side *side, size_t length);
    size_t length;
    int is_connected;
};

static const struct operation operations[] = {
    { "send_64", send_one, 64, 1 },         { "send_256", send_one, 256, 1 },
    { "send_1024", send_one, 1024, 1 },     { "receive_64", receive_one, 64, 1 },
    { "receive_256", receive_one, 256, 1 }, { "receive_1024", receive_one, 1024, 1 },
    { "connect_close", connect_one, 0, 0 },
};

static void measure(const struct side *side, const struct operation *operation, unsigned rounds)
{
    if (operation->is_connected)
        side->open();
    for (unsigned i = 0; i < WARM_UP; i++)
        operation->run(side, operation->length);
    CALLGRIND_ZERO_STATS;
    for (unsigned i = 0; i < rounds; i++)
        operation->run(side, operation->length);
    CALLGRIND_DUMP_STATS_AT(operation->name);
    if (operation->is_connected)
        side->close();
    machine_rest();
}

int main(int argc, char **argv)
{
    const struct side *side = NULL;
    unsigned rounds = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;

    if (argc == 3 && strcmp(argv[1], side_socketcore.name) == 0)
        side = &side_socketcore;
    else if (argc == 3 && strcmp(argv[1], side_sockets.name) == 0)
        side = &side_sockets;
    if (!side || !rounds) {
        fprintf(stderr, "usage: instructions socketcore|sockets ROUNDS\n");
        return 2;
    }
    machine_start();
    side->start();
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
        measure(side, &operations[i], rounds);
    fflush(stdout);
    _Exit(0); /* the other threads wait for ever */
}
