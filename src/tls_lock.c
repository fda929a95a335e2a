/*
 * A mutex that is made when it is first needed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls_lock.h"

bool sc_tls_lock(struct sc_tls_lock *lock)
{
    if (!lock->is_made)
        lock->is_made = sys_mutex_new(&lock->mutex) == ERR_OK;
    if (lock->is_made)
        sys_mutex_lock(&lock->mutex);
    return lock->is_made;
}

void sc_tls_unlock(struct sc_tls_lock *lock)
{
    sys_mutex_unlock(&lock->mutex);
}

void sc_tls_lock_free(struct sc_tls_lock *lock)
{
    if (lock->is_made)
        sys_mutex_free(&lock->mutex);
    lock->is_made = false;
}
