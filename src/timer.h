/*
 * Timers in order of their time: an intrusive pairing heap, O(1) to arm and O(log n) amortised to
 * take out, without any memory of its own. Used by the engine and by the host's rtos. It knows no
 * clock and no lock: the caller brings both.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_TIMER_H
#define SC_TIMER_H

#include <stdbool.h>
#include <stdint.h>

/* Embedded in what it wakes; all zero when it is not armed. */
struct sc_timer {
    uint64_t at;    /* in the caller's unit */
    uint64_t order; /* of two with the same time the one armed first comes first */
    struct sc_timer *child;
    struct sc_timer *next;  /* sibling */
    struct sc_timer **link; /* what points here; NULL when not armed */
};

struct sc_timers {
    struct sc_timer *first; /* the one due first, or NULL */
    uint64_t armed;         /* how many were ever armed */
};

static inline bool sc_timer_is_armed(const struct sc_timer *timer)
{
    return timer->link != 0;
}

/* Arms `timer` for `at`; one that is armed already is moved. */
void sc_timer_arm(struct sc_timers *timers, struct sc_timer *timer, uint64_t at);

/* Takes `timer` out; nothing happens when it is not armed. */
void sc_timer_cancel(struct sc_timers *timers, struct sc_timer *timer);

#endif
