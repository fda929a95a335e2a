/*
 * The pairing heap behind timer.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "timer.h"

#include <stddef.h>

static bool is_before(const struct sc_timer *a, const struct sc_timer *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

/* Makes the later of two roots the first child of the earlier one, which is returned. */
static struct sc_timer *meld(struct sc_timer *a, struct sc_timer *b)
{
    if (!a)
        return b;
    if (!b)
        return a;
    if (is_before(b, a)) {
        struct sc_timer *swap = a;
        a = b;
        b = swap;
    }
    b->next = a->child;
    if (b->next)
        b->next->link = &b->next;
    b->link = &a->child;
    a->child = b;
    a->next = NULL;
    return a;
}

/* Melds a list of siblings into one root: in pairs from the left, then the pairs from the right.
 * Two loops, because thousands of siblings would be too deep for recursion on a small stack. */
static struct sc_timer *meld_siblings(struct sc_timer *list)
{
    struct sc_timer *pairs = NULL;
    while (list) {
        struct sc_timer *a = list;
        struct sc_timer *b = a->next;
        list = b ? b->next : NULL;
        a->next = NULL;
        if (b)
            b->next = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    struct sc_timer *root = NULL;
    while (pairs) {
        struct sc_timer *pair = pairs;
        pairs = pair->next;
        pair->next = NULL;
        root = meld(root, pair);
    }
    return root;
}

static void set_root(struct sc_timers *timers, struct sc_timer *root)
{
    timers->first = root;
    if (root)
        root->link = &timers->first;
}

void sc_timer_cancel(struct sc_timers *timers, struct sc_timer *timer)
{
    if (!timer->link)
        return;
    *timer->link = timer->next;
    if (timer->next)
        timer->next->link = timer->link;
    struct sc_timer *orphans = meld_siblings(timer->child);
    timer->link = NULL;
    timer->child = NULL;
    timer->next = NULL;
    set_root(timers, meld(timers->first, orphans));
}

void sc_timer_arm(struct sc_timers *timers, struct sc_timer *timer, uint64_t at)
{
    sc_timer_cancel(timers, timer);
    timer->at = at;
    timer->order = timers->armed++;
    set_root(timers, meld(timers->first, timer));
}
