/*
 * A Lua module for specs, to be preloaded too (LD_PRELOAD): then it stands in front of the C
 * library's malloc and has it fail as the script wishes. What Lua allocates itself never fails.
 *
 *   faults.fail_from(n)    from the n-th allocation on of what is not GLib or the C library's
 *                          own, all fail (n = 1: at once)
 *   faults.budget(bytes)   all together have so many bytes more, and what they free
 *   faults.off()           back to normal; returns how many allocations have failed
 *
 * SPDX-License-Identifier: MIT
 */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void __libc_free(void *block);

/* ---- whose call it is ---- */

#define OBJECTS_MAX 16

struct object {
    uintptr_t from;
    uintptr_t to;
};

/* Written before anything is armed. */
static struct object lua;
static struct object spared[OBJECTS_MAX]; /* by fail_from */
static unsigned spared_count;

static bool is_in(const struct object *object, uintptr_t address)
{
    return address >= object->from && address < object->to;
}

static bool is_spared(uintptr_t caller)
{
    for (unsigned i = 0; i < spared_count; i++) {
        if (is_in(&spared[i], caller))
            return true;
    }
    return false;
}

static int note_object(struct dl_phdr_info *info, size_t size, void *unused)
{
    static const char *const names[] = { "/libglib-", "/libc.so", "/ld-linux" };
    struct object object = { UINTPTR_MAX, 0 };
    bool spares = false;

    (void)size;
    (void)unused;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t from = info->dlpi_addr + header->p_vaddr;
        if (header->p_type != PT_LOAD)
            continue;
        if (from < object.from)
            object.from = from;
        if (from + header->p_memsz > object.to)
            object.to = from + header->p_memsz;
    }
    /* By name: other programs that get this preloaded have no Lua. */
    if (is_in(&object, (uintptr_t)dlsym(RTLD_DEFAULT, "luaL_newstate")))
        lua = object;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        spares |= strstr(info->dlpi_name, names[i]) != NULL;
    if (spares && spared_count < OBJECTS_MAX)
        spared[spared_count++] = object;
    return 0;
}

/* ---- what fails ---- */

static atomic_long calls_left = LONG_MAX; /* of fail_from */
static atomic_long bytes_left = LONG_MAX; /* of budget */
static atomic_bool has_budget;
static atomic_bool is_armed;
static atomic_long failures;

static bool may_have(size_t size, const void *address)
{
    uintptr_t caller = (uintptr_t)address;
    bool may = true;

    if (!atomic_load(&is_armed) || is_in(&lua, caller))
        return true;
    if (atomic_load(&has_budget))
        may = (long)size <= atomic_load(&bytes_left);
    else if (!is_spared(caller))
        may = atomic_fetch_sub(&calls_left, 1) > 1;
    if (!may) {
        atomic_fetch_add(&failures, 1);
        errno = ENOMEM;
    }
    return may;
}

static void *charge(void *block)
{
    if (block && atomic_load(&has_budget))
        atomic_fetch_sub(&bytes_left, (long)malloc_usable_size(block));
    return block;
}

static void refund(void *block)
{
    if (block && atomic_load(&has_budget))
        atomic_fetch_add(&bytes_left, (long)malloc_usable_size(block));
}

#define CALLER __builtin_return_address(0)
#define EXPORTED __attribute__((visibility("default")))

EXPORTED void *malloc(size_t size)
{
    return may_have(size, CALLER) ? charge(__libc_malloc(size)) : NULL;
}

EXPORTED void *calloc(size_t count, size_t size)
{
    return may_have(count * size, CALLER) ? charge(__libc_calloc(count, size)) : NULL;
}

EXPORTED void *realloc(void *block, size_t size)
{
    if (!may_have(size, CALLER))
        return NULL;
    refund(block);
    return charge(__libc_realloc(block, size));
}

EXPORTED void free(void *block)
{
    refund(block);
    __libc_free(block);
}

/* ---- the module ---- */

static void arm(void)
{
    atomic_store(&failures, 0);
    spared_count = 0;
    dl_iterate_phdr(note_object, NULL);
    atomic_store(&is_armed, true);
}

static int fail_from(lua_State *L)
{
    atomic_store(&calls_left, (long)luaL_checknumber(L, 1));
    arm();
    return 0;
}

static int budget(lua_State *L)
{
    atomic_store(&bytes_left, (long)luaL_checknumber(L, 1));
    atomic_store(&has_budget, true);
    arm();
    return 0;
}

static int off(lua_State *L)
{
    atomic_store(&is_armed, false);
    atomic_store(&has_budget, false);
    lua_pushnumber(L, (lua_Number)atomic_load(&failures));
    return 1;
}

EXPORTED int luaopen_faults(lua_State *L);

int luaopen_faults(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, fail_from);
    lua_setfield(L, -2, "fail_from");
    lua_pushcfunction(L, budget);
    lua_setfield(L, -2, "budget");
    lua_pushcfunction(L, off);
    lua_setfield(L, -2, "off");
    return 1;
}
