/*
 * The frame of the bench's limits, see limit.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "limit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define IDLE_CONNECTIONS 1000
#define FIRST_UNITS 20

struct limit_options limit_options = { .sockets = EVENT_SOCKETS, .seconds = 0.5, .ca_file = "" };

/* The last time between limit_begin and limit_end. */
static double began, took;
static double own_began, own_took;       /* this process's CPU time */
static double server_began, server_took; /* the server's */

void limit_die(const char *what)
{
    printf("%s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

double limit_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static double own_cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

/* Seconds of CPU time that the server has had. */
static double server_cpu(void)
{
    char name[64];
    double nanoseconds = 0;
    snprintf(name, sizeof name, "/proc/%ld/schedstat", limit_options.server);
    FILE *file = fopen(name, "r");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%lf", &nanoseconds) != 1)
        nanoseconds = 0;
    fclose(file);
    return nanoseconds / 1e9;
}

void limit_begin(void)
{
    server_began = server_cpu();
    own_began = own_cpu();
    began = limit_now();
}

void limit_end(void)
{
    took = limit_now() - began;
    own_took = own_cpu() - own_began;
    server_took = server_cpu() - server_began;
    if (took < 1e-6)
        took = 1e-6;
}

/* KB of memory that this process has in RAM. */
static double resident_kb(void)
{
    char line[256];
    double kb = 0;
    FILE *file = fopen("/proc/self/status", "r");
    if (file == NULL)
        limit_die("/proc/self/status");
    while (fgets(line, sizeof line, file) != NULL && sscanf(line, "VmRSS: %lf", &kb) != 1)
        continue;
    fclose(file);
    return kb;
}

/* Asks for more and more units until they take long enough to be believed. */
static long run_long_enough(const struct limit_figure *figure)
{
    double seconds = limit_options.seconds;
    long n = FIRST_UNITS;
    for (;;) {
        figure->work(n);
        /* The first ones may be slow for reasons of their own. */
        if (n > FIRST_UNITS && (took >= 0.8 * seconds || n == figure->most))
            return n;
        double times = 1.1 * seconds / took;
        times = times < 2 ? 2 : times < 20 ? times : 20;
        n = (long)((double)n * times) + 1;
        if (figure->most > 0 && n > figure->most)
            n = figure->most;
    }
}

static void measure(const struct limit_figure *figure)
{
    if (figure->kind == LIMIT_MEMORY) {
        figure->work(1);
        double before = resident_kb();
        figure->work(IDLE_CONNECTIONS);
        printf("value %.6g\n", (resident_kb() - before) / IDLE_CONNECTIONS);
        return;
    }
    double n = (double)run_long_enough(figure);
    double cpu = 1e6 * own_took / n;
    printf("value %.6g cpu %.6g server %.3g\n",
           figure->kind == LIMIT_CPU ? cpu : n * figure->scale / took, cpu, server_took / took);
}

static bool take_option(const char *word)
{
    const char *value = strchr(word, '=');
    size_t length = value == NULL ? 0 : (size_t)(value - word);
    if (length == 0)
        return false;
    value++;
    if (strncmp(word, "tcp", length) == 0)
        limit_options.tcp_port = (int)strtol(value, NULL, 10);
    else if (strncmp(word, "udp", length) == 0)
        limit_options.udp_port = (int)strtol(value, NULL, 10);
    else if (strncmp(word, "sockets", length) == 0)
        limit_options.sockets = (int)strtol(value, NULL, 10);
    else if (strncmp(word, "seconds", length) == 0)
        limit_options.seconds = strtod(value, NULL);
    else if (strncmp(word, "ca", length) == 0)
        limit_options.ca_file = value;
    else if (strncmp(word, "server", length) == 0)
        limit_options.server = strtol(value, NULL, 10);
    else
        return false;
    return true;
}

int limit_main(int argc, char **argv, const struct limit_figure *figures, void (*start)(void))
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s FIGURE [NAME=VALUE...]\n", argv[0]);
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        if (!take_option(argv[i])) {
            fprintf(stderr, "\"%s\" is not an option.\n", argv[i]);
            return 2;
        }
    }
    for (; figures->name != NULL; figures++) {
        if (strcmp(figures->name, argv[1]) == 0) {
            if (start != NULL)
                start();
            measure(figures);
            return 0;
        }
    }
    puts("none"); /* not for this side */
    return 0;
}
