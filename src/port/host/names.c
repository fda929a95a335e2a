/*
 * Names and name servers as the host has them: the hosts file goes into lwIP's list of local hosts,
 * the name servers of resolv.conf become lwIP's. Both are loaded at the start and again when they
 * have changed, looked at once a second at most. Under lwIP's core lock.
 *
 * SPDX-License-Identifier: MIT
 */
#include "host.h"
#include "link.h"

#include "lwip/dns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define HOSTS_FILE "/etc/hosts"
#define RESOLV_FILE "/etc/resolv.conf"
#define REFRESH_US 1000000
#define NAME_MAX_LENGTH (DNS_MAX_NAME_LENGTH - 1)

/* One file and what it looked like when it was read. */
struct watched {
    const char *path;
    struct stat seen;
    bool is_loaded;
};

/* NULL also when the file is not there, or not ours to read. Else *is_known is false: it cannot be
 * opened now, for want of memory or a descriptor. */
static FILE *open_file(const char *path, bool *is_known)
{
    FILE *file = fopen(path, "re");

    *is_known = file || errno == ENOENT || errno == ENOTDIR || errno == EACCES;
    return file;
}

static bool has_changed(struct watched *file)
{
    struct stat now;

    if (stat(file->path, &now) != 0)
        memset(&now, 0, sizeof(now));
    bool is_same = now.st_ino == file->seen.st_ino && now.st_dev == file->seen.st_dev &&
                   now.st_size == file->seen.st_size &&
                   now.st_mtim.tv_sec == file->seen.st_mtim.tv_sec &&
                   now.st_mtim.tv_nsec == file->seen.st_mtim.tv_nsec;
    file->seen = now;
    return !is_same;
}

/* ---- hosts ---- */

struct host {
    ip_addr_t address;
    char name[NAME_MAX_LENGTH + 1];
};

struct host_list {
    struct host *hosts;
    size_t count;
    size_t capacity;
    bool is_short; /* memory was out */
};

static void append_host(struct host_list *list, const ip_addr_t *address, const char *name)
{
    if (strlen(name) > NAME_MAX_LENGTH)
        return;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 32;
        struct host *grown = realloc(list->hosts, capacity * sizeof(*grown));
        if (!grown) {
            list->is_short = true;
            return;
        }
        list->hosts = grown;
        list->capacity = capacity;
    }
    struct host *host = &list->hosts[list->count++];
    host->address = *address;
    strcpy(host->name, name);
}

static bool has_host(const struct host_list *list, const char *name, bool is_ip6)
{
    for (size_t i = 0; i < list->count; i++) {
        if (!!IP_IS_V6(&list->hosts[i].address) == is_ip6 && !strcasecmp(list->hosts[i].name, name))
            return true;
    }
    return false;
}

/* "address name alias ... # comment" */
static void read_hosts_line(struct host_list *list, char *line)
{
    static const char blanks[] = " \t\r\n";
    char *rest;
    ip_addr_t address;

    line[strcspn(line, "#")] = '\0';
    char *word = strtok_r(line, blanks, &rest);
    if (!word || strchr(word, '%') || !ipaddr_aton(word, &address))
        return;
    while ((word = strtok_r(NULL, blanks, &rest)))
        append_host(list, &address, word);
}

/* localhost means this machine also where no file says so, as with getaddrinfo. */
static void append_localhost(struct host_list *list)
{
    ip_addr_t address;

    if (!has_host(list, "localhost", false)) {
        IP_ADDR4(&address, 127, 0, 0, 1);
        append_host(list, &address, "localhost");
    }
    if (!has_host(list, "localhost", true)) {
        IP_ADDR6_HOST(&address, 0, 0, 0, 1);
        append_host(list, &address, "localhost");
    }
}

/* False when it is to be tried again: without memory or a descriptor. */
static bool load_hosts(void)
{
    struct host_list list = { 0 };
    char *line = NULL;
    size_t size = 0;
    bool is_known;
    FILE *file = open_file(HOSTS_FILE, &is_known);

    if (!is_known)
        return false;
    if (file) {
        while (getline(&line, &size, file) > 0)
            read_hosts_line(&list, line);
        list.is_short |= !feof(file);
        fclose(file);
    }
    free(line);
    append_localhost(&list);
    dns_local_removehost(NULL, NULL);
    /* lwIP puts each in front of the others. */
    for (size_t i = list.count; i > 0; i--)
        list.is_short |= dns_local_addhost(list.hosts[i - 1].name, &list.hosts[i - 1].address) != 0;
    free(list.hosts);
    return !list.is_short;
}

/* ---- name servers ---- */

/* Adds the address in `text`, unless the link cannot carry packets to it. */
static void add_server(const char *text, u8_t *count)
{
    ip_addr_t address;

    if (*count < DNS_MAX_SERVERS && ipaddr_aton(text, &address) && sc_net_reaches(&address))
        dns_setserver((*count)++, &address);
}

/* The host's own servers are asked directly. One that is reached through a named interface only
 * ("fe80::1%eth0") is what slirp has its fec0::3 for. Without any it is the one on this machine,
 * as with getaddrinfo. */
static bool read_servers(u8_t *count)
{
    char *line = NULL;
    size_t size = 0;
    bool has_scoped = false;
    bool is_known;
    FILE *file = open_file(RESOLV_FILE, &is_known);

    if (!is_known)
        return false;
    while (file && getline(&line, &size, file) > 0) {
        char text[64];
        if (sscanf(line, "nameserver %63s", text) != 1)
            continue;
        if (strchr(text, '%'))
            has_scoped = true;
        else
            add_server(text, count);
    }
    if (file)
        fclose(file);
    free(line);
    if (!*count)
        add_server(has_scoped ? "fec0::3" : "127.0.0.1", count);
    return true;
}

/* False as load_hosts. */
static bool load_servers(void)
{
    const char *given = sc_net_name_server();
    u8_t count = 0;

    if (given)
        add_server(given, &count);
    else if (!read_servers(&count))
        return false;
    while (count < DNS_MAX_SERVERS)
        dns_setserver(count++, NULL);
    return true;
}

void sc_names_refresh(uint64_t now)
{
    static struct watched hosts = { .path = HOSTS_FILE };
    static struct watched resolv = { .path = RESOLV_FILE };
    static uint64_t next;

    if (now < next)
        return;
    next = now + REFRESH_US;
    if (has_changed(&hosts) || !hosts.is_loaded)
        hosts.is_loaded = load_hosts();
    if (has_changed(&resolv) || !resolv.is_loaded)
        resolv.is_loaded = load_servers();
}
