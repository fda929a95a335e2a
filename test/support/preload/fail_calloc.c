/*
 * Preloaded into a process of its own by a spec (LD_PRELOAD): lets the calls of calloc fail that
 * socketcore.so makes, the n-th alone or all from the n-th on. mbedTLS has all its memory from
 * calloc, and little else of the core has.
 *
 * The script asks by os.remove, with names that no file has:
 *
 *     os.remove "calloc:7:7"    the 7th call from now on fails; "calloc:7:0": and all after it
 *     os.remove "calloc:off"    none fails any more; the third result is how many did (nil: none)
 *
 * SPDX-License-Identifier: MIT
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uintptr_t module_start, module_end;
static _Atomic unsigned long calls, first, last, failures;

static int find_module(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    if (!strstr(info->dlpi_name, "/socketcore.so"))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X)) {
            module_start = info->dlpi_addr + part->p_vaddr;
            module_end = module_start + part->p_memsz;
        }
    }
    return 1;
}

static bool must_fail(const void *caller)
{
    if (!first || (uintptr_t)caller < module_start || (uintptr_t)caller >= module_end)
        return false;
    unsigned long number = ++calls;
    if (number < first || number > last)
        return false;
    failures++;
    return true;
}

void *calloc(size_t count, size_t size)
{
    /* dlsym itself may call calloc. */
    extern void *__libc_calloc(size_t, size_t);

    if (must_fail(__builtin_return_address(0))) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(count, size);
}

static int answer(int number)
{
    errno = number;
    return number ? -1 : 0;
}

int remove(const char *name)
{
    unsigned long from, to;
    int (*real)(const char *);

    if (strcmp(name, "calloc:off") == 0) {
        first = 0;
        return answer((int)failures);
    }
    if (sscanf(name, "calloc:%lu:%lu", &from, &to) == 2) {
        dl_iterate_phdr(find_module, NULL);
        calls = failures = 0;
        last = to ? to : (unsigned long)-1;
        first = from;
        return answer(0);
    }
    *(void **)&real = dlsym(RTLD_NEXT, "remove");
    return real(name);
}
