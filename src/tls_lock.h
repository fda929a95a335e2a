/*
 * A mutex that is made when it is first needed. Both threads take it; the first time the script
 * thread does, when the first TLS socket is opened, so the making needs no lock itself.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_TLS_LOCK_H
#define SC_TLS_LOCK_H

#include "lwip/sys.h"

#include <stdbool.h>

/* All zero at the start. */
struct sc_tls_lock {
    sys_mutex_t mutex;
    bool is_made;
};

/* False without memory; never once it has been taken. */
bool sc_tls_lock(struct sc_tls_lock *lock);
void sc_tls_unlock(struct sc_tls_lock *lock);

/* As if it had never been taken. */
void sc_tls_lock_free(struct sc_tls_lock *lock);

#endif
