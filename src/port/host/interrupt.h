/*
 * Ctrl-C that ends a script wherever it is (interrupt.c).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_INTERRUPT_H
#define SC_INTERRUPT_H

#include <lua.h>

/* rtos.on_interrupt(fn | nil). Beyond the firmware: for the program that runs a script. */
int sc_on_interrupt(lua_State *L);

/* Forgets the Lua state, which is about to be closed. */
void sc_end_interrupts(void);

#endif
