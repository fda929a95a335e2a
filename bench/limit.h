/*
 * What the limits of the bench do alike; measure.lua is the same for the sides in Lua. A limit is a
 * client in C: what the library underneath can do when nothing else is in the way.
 *
 *   limit_NAME FIGURE [tcp=PORT] [udp=PORT] [seconds=S] [ca=FILE] [sockets=N] [server=PID]
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_LIMIT_H
#define BENCH_LIMIT_H

#include <stdbool.h>
#include <stddef.h>

#define SEND_SIZE 11200 /* the cut of the firmware's socket.lua */
#define READ_SIZE 2048  /* what one RECV_IND announces */
#define ROUND_TRIP_SIZE 64
#define DATAGRAM_SIZE 512
#define EVENT_SOCKETS 10 /* that exchange something, of all that are open */
#define TIMEOUT 10       /* seconds that any one answer may take */

/* What the command line says. */
extern struct limit_options {
    int tcp_port;
    int udp_port;
    int sockets;
    double seconds;
    const char *ca_file;
    long server; /* the number of its process */
} limit_options;

enum limit_kind {
    LIMIT_RATE,   /* `work` does n units; the value is units * scale a second */
    LIMIT_CPU,    /* the same; the value is the microseconds of CPU time that a unit takes */
    LIMIT_MEMORY, /* `work` opens n connections; the value is the KB that each takes */
};

struct limit_figure {
    const char *name;
    enum limit_kind kind;
    double scale;
    long most; /* units that are enough; 0: as many as take the time */
    /* Does n units, between limit_begin and limit_end. Ends the program when something fails. */
    void (*work)(long n);
};

/* Stand around what is measured; nothing between the two is left out. */
void limit_begin(void);
void limit_end(void);

/* Says why and ends the program. */
_Noreturn void limit_die(const char *what);

/* Seconds on a clock that never goes back. */
double limit_now(void);

/* Measures what the command line names and prints it; `start`, if any, is called before that when
 * the figure is one of these. Returns what main returns. */
int limit_main(int argc, char **argv, const struct limit_figure *figures, void (*start)(void));

#endif
