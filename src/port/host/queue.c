/*
 * The queue that rtos.receive drains: sockets in the order in which they were posted, and the
 * script's timers in the order of their time. The two are merged when something is taken, so a
 * timer needs no place in the queue, and one that was stopped in time is never seen.
 *
 * Sockets are posted by the engine, on whichever thread runs it; timers belong to the script
 * thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "host.h"

#include "timer.h"

#include "lwip/sys.h"

#include <stdlib.h>

/* ---- sockets ---- */

struct post {
    int socket;
    uint64_t at;
};

/* There is room for some without memory: a socket that finds none is offered again. */
#define POSTS_MIN 16
static struct post first_posts[POSTS_MIN];

/* Shared, under SYS_ARCH_PROTECT. A ring that has grown to the most sockets that ever waited at
 * once. */
static struct post *posts = first_posts;
static size_t posts_capacity = POSTS_MIN;
static size_t posts_first;
static size_t posts_count;

/* The place of the post that `offset` others stand in front of. */
static size_t post_place(size_t offset)
{
    size_t place = posts_first + offset;

    return place < posts_capacity ? place : place - posts_capacity;
}

static bool grow_posts(void)
{
    size_t capacity = 2 * posts_capacity;
    struct post *grown = malloc(capacity * sizeof(*grown));

    if (!grown)
        return false;
    for (size_t i = 0; i < posts_count; i++) {
        grown[i] = posts[posts_first];
        posts_first = posts_first + 1 < posts_capacity ? posts_first + 1 : 0;
    }
    if (posts != first_posts)
        free(posts);
    posts = grown;
    posts_capacity = capacity;
    posts_first = 0;
    return true;
}

/* The core never posts a socket that stands here already, so max_sockets places are the most. What
 * leads to a post has looked at the clock: the pump in its round, or sc_consume. */
bool sc_port_post(int socket)
{
    SYS_ARCH_DECL_PROTECT(level);
    uint64_t now = sc_host_recent();
    bool has_room;

    SYS_ARCH_PROTECT(level);
    has_room = posts_count < posts_capacity || grow_posts();
    if (has_room)
        posts[post_place(posts_count++)] = (struct post){ .socket = socket, .at = now };
    SYS_ARCH_UNPROTECT(level);
    return has_room;
}

void sc_queue_drop_sockets(void)
{
    SYS_ARCH_DECL_PROTECT(level);

    SYS_ARCH_PROTECT(level);
    posts_count = 0;
    SYS_ARCH_UNPROTECT(level);
}

/* ---- timers ---- */

static bool is_claimed; /* by a Lua state */

struct script_timer {
    struct sc_timer timer; /* first: a struct sc_timer is one of these */
    struct script_timer *next;
    uint32_t id;
};

/* The script thread's: by time, and by id in a table of chains with about one timer each. */
static struct sc_timers timers;
static struct script_timer **chains;
static size_t chain_count; /* a power of two */
static size_t timer_count;

/* Ids come in sequences, but not always with a step of one. */
static size_t chain_of(uint32_t id, size_t count)
{
    return (id * 2654435761u >> 8) & (count - 1);
}

static bool grow_chains(void)
{
    size_t count = chain_count ? 2 * chain_count : 64;
    struct script_timer **grown = calloc(count, sizeof(struct script_timer *));

    if (!grown)
        return false;
    for (size_t i = 0; i < chain_count; i++) {
        while (chains[i]) {
            struct script_timer *timer = chains[i];
            chains[i] = timer->next;
            timer->next = grown[chain_of(timer->id, count)];
            grown[chain_of(timer->id, count)] = timer;
        }
    }
    free(chains);
    chains = grown;
    chain_count = count;
    return true;
}

/* Where the pointer to timer `id` is, or would be. Needs a table. */
static struct script_timer **find_timer(uint32_t id)
{
    struct script_timer **link = &chains[chain_of(id, chain_count)];

    while (*link && (*link)->id != id)
        link = &(*link)->next;
    return link;
}

bool sc_host_timer_start(uint32_t id, uint32_t ms)
{
    if (!is_claimed || (timer_count >= chain_count && !grow_chains() && !chain_count))
        return false;
    struct script_timer **link = find_timer(id);
    if (!*link) {
        *link = calloc(1, sizeof(**link));
        if (!*link)
            return false;
        (*link)->id = id;
        timer_count++;
    }
    /* The clock was rounded down: one more, so that no timer is ever early. */
    sc_timer_arm(&timers, &(*link)->timer, sc_host_now() + 1 + (uint64_t)ms * 1000);
    return true;
}

void sc_host_timer_stop(uint32_t id)
{
    if (!chain_count)
        return;
    struct script_timer **link = find_timer(id);
    struct script_timer *timer = *link;
    if (!timer)
        return;
    sc_timer_cancel(&timers, &timer->timer);
    *link = timer->next;
    free(timer);
    timer_count--;
}

const char *sc_host_claim(void)
{
    if (is_claimed)
        return "it is in use by another Lua state of this process";
    if (!sc_pump_open())
        return "out of memory, or too many open files (see ulimit -n)";
    is_claimed = true;
    return NULL;
}

void sc_host_release(void)
{
    while (timers.first)
        sc_host_timer_stop(((struct script_timer *)(void *)timers.first)->id);
    free(chains);
    chains = NULL;
    chain_count = 0;
    is_claimed = false;
}

/* ---- both ---- */

enum sc_item sc_queue_take(uint64_t now, int *id)
{
    SYS_ARCH_DECL_PROTECT(level);
    const struct script_timer *timer = (struct script_timer *)(void *)timers.first;
    bool has_timer = timer && timer->timer.at <= now;
    bool has_socket;

    SYS_ARCH_PROTECT(level);
    has_socket = posts_count != 0;
    if (has_socket && timer && timer->timer.at < posts[posts_first].at) {
        /* Posts are of the past, so this timer has run out. */
        has_timer = true;
        has_socket = false;
    }
    if (has_socket) {
        *id = posts[posts_first].socket;
        posts_first = post_place(1);
        posts_count--;
    }
    SYS_ARCH_UNPROTECT(level);
    if (has_socket)
        return SC_ITEM_SOCKET;
    if (!has_timer)
        return SC_ITEM_NONE;
    *id = (int)timer->id;
    sc_host_timer_stop(timer->id);
    return SC_ITEM_TIMER;
}

uint64_t sc_queue_due(void)
{
    return timers.first ? timers.first->at : SC_NEVER;
}

bool sc_queue_is_empty(void)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_empty;

    SYS_ARCH_PROTECT(level);
    is_empty = posts_count == 0;
    SYS_ARCH_UNPROTECT(level);
    return is_empty && !timers.first;
}

bool sc_host_is_idle(void)
{
    struct sc_totals totals;

    sc_get_totals(&totals);
    return totals.sockets == 0 && sc_queue_is_empty();
}
