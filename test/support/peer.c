/*
 * The other end of the specs' connections: one process, one poll loop, everything that a real
 * server cannot be asked to do. It prints one line of name=port pairs once it is ready and ends
 * with the process that started it.
 *
 * On the TCP port `script` a client's first line says how this connection behaves: a tag and
 * actions, "t1 send:200000 fin". The ports echo, discard, closer, resetter and greeter have fixed
 * scripts, so that a client need not say anything. The port `control` answers one line per line:
 * specs ask it over the kernel what a connection got and how it ended ("stat t1"), and push it on
 * ("do t1 send:5 close").
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_RECORDS 3000 /* of connections that ended, kept for "stat" */
#define MAX_SCRIPT 1000
#define SOURCES 32

/* ---- the pattern: what is sent and what is expected, also known to helper.lua ---- */

#define PATTERN_PERIOD 65521
static unsigned char pattern[2 * PATTERN_PERIOD];

static void make_pattern(void)
{
    uint32_t x = 1;
    for (size_t i = 0; i < PATTERN_PERIOD; i++) {
        x = (x * 171 + 11213) % 53125;
        pattern[i] = (unsigned char)(x % 256);
    }
    memcpy(pattern + PATTERN_PERIOD, pattern, PATTERN_PERIOD);
}

static const unsigned char *pattern_at(uint64_t offset)
{
    return pattern + offset % PATTERN_PERIOD;
}

/* Of how many of the `length` bytes equal the pattern from `offset` on. */
static size_t matching(uint64_t offset, const unsigned char *data, size_t length)
{
    size_t done = 0;
    while (done < length) {
        size_t part = length - done < PATTERN_PERIOD ? length - done : PATTERN_PERIOD;
        const unsigned char *want = pattern_at(offset + done);
        if (memcmp(want, data + done, part) != 0) {
            while (data[done] == *want) {
                done++;
                want++;
            }
            return done;
        }
        done += part;
    }
    return done;
}

static uint32_t adler32(uint32_t sum, const unsigned char *data, size_t length)
{
    uint32_t a = sum & 0xffff, b = sum >> 16;
    for (size_t i = 0; i < length; i++) {
        a = (a + data[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- TCP connections ---- */

enum ending { OPEN, PEER_FIN, PEER_RST, OWN_CLOSE, OWN_RST };
static const char *const ending_names[] = { "open", "fin", "rst", "closed", "reset" };

struct connection {
    struct connection *next;
    int fd; /* -1 once it has ended */
    char tag[64];
    bool tagged;
    char script[MAX_SCRIPT]; /* what is left to do */
    bool reading;
    bool echoing;
    bool saw_fin;
    bool sent_fin;
    bool saw_rst; /* what came before it can still be read */
    enum ending ending;
    uint64_t rx, tx;
    uint64_t matched; /* leading bytes received that equal the pattern */
    uint32_t adler;
    uint64_t pattern_left, tiny_left; /* being sent */
    unsigned char *out;               /* being sent, before the pattern */
    size_t out_length, out_size;
    uint64_t wait_until, wait_rx;
    bool wait_eof;
    bool hold;
    struct pollfd *poll;
};

static struct connection *connections;
static unsigned accepted, records;

static void end_connection(struct connection *c, enum ending ending)
{
    if (ending == OWN_RST) {
        struct linger linger = { .l_onoff = 1, .l_linger = 0 };
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    close(c->fd);
    c->fd = -1;
    c->ending = ending;
    c->script[0] = '\0';
    free(c->out);
    c->out = NULL;
    c->out_length = c->out_size = 0;
}

static void append_output(struct connection *c, const void *data, size_t length)
{
    if (c->out_length + length > c->out_size) {
        c->out_size = (c->out_length + length) * 2;
        c->out = realloc(c->out, c->out_size);
        if (c->out == NULL)
            abort();
    }
    memcpy(c->out + c->out_length, data, length);
    c->out_length += length;
}

__attribute__((format(printf, 2, 3))) static void reply(struct connection *c, const char *format,
                                                        ...)
{
    char text[600];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    append_output(c, text, (size_t)length);
}

static bool is_busy(const struct connection *c)
{
    return c->out_length > 0 || c->pattern_left > 0 || c->tiny_left > 0;
}

static bool is_waiting(const struct connection *c)
{
    return c->hold || (c->wait_eof && !c->saw_fin) || c->rx < c->wait_rx ||
           (c->wait_until != 0 && now_ms() < c->wait_until);
}

/* Takes the first word of the script; false when nothing is left. */
static bool next_action(struct connection *c, char *action, size_t size)
{
    char *start = c->script + strspn(c->script, " \r");
    size_t length = strcspn(start, " \r");
    if (length == 0)
        return false;
    if (length >= size)
        length = size - 1;
    memcpy(action, start, length);
    action[length] = '\0';
    memmove(c->script, start + length, strlen(start + length) + 1);
    return true;
}

static void begin_action(struct connection *c, const char *action)
{
    const char *colon = strchr(action, ':');
    const char *text = colon ? colon + 1 : "";
    uint64_t number = strtoull(text, NULL, 10);
    size_t length = colon ? (size_t)(colon - action) : strlen(action);
    char name[16] = "";
    memcpy(name, action, length < sizeof name ? length : sizeof name - 1);

    if (strcmp(name, "send") == 0) {
        c->pattern_left = number;
    } else if (strcmp(name, "tiny") == 0) {
        int on = 1;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        c->tiny_left = number;
    } else if (strcmp(name, "text") == 0) {
        append_output(c, text, strlen(text));
    } else if (strcmp(name, "line") == 0) {
        append_output(c, text, strlen(text));
        append_output(c, "\n", 1);
    } else if (strcmp(name, "wait") == 0) {
        c->wait_until = now_ms() + number;
    } else if (strcmp(name, "fin") == 0) {
        shutdown(c->fd, SHUT_WR);
        c->sent_fin = true;
    } else if (strcmp(name, "close") == 0) {
        end_connection(c, OWN_CLOSE);
    } else if (strcmp(name, "rst") == 0) {
        end_connection(c, OWN_RST);
    } else if (strcmp(name, "read") == 0) {
        c->wait_rx = number;
    } else if (strcmp(name, "eof") == 0) {
        c->wait_eof = true;
    } else if (strcmp(name, "report") == 0) {
        reply(c, "rx=%llu match=%d adler=%u eof=%d\n", (unsigned long long)c->rx,
              c->matched == c->rx, c->adler, c->saw_fin);
    } else if (strcmp(name, "noread") == 0) {
        c->reading = false;
    } else if (strcmp(name, "doread") == 0) {
        c->reading = true;
    } else if (strcmp(name, "hold") == 0) {
        c->hold = true;
    } else if (strcmp(name, "echo") == 0) {
        c->echoing = true;
    } else if (strcmp(name, "rcvbuf") == 0) {
        int size = (int)number;
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    } else {
        fprintf(stderr, "peer: unknown action %s\n", action);
    }
}

static void run_script(struct connection *c)
{
    char action[200];
    while (c->fd >= 0 && c->tagged && !is_busy(c) && !is_waiting(c)) {
        c->wait_until = c->wait_rx = 0;
        c->wait_eof = false;
        if (!next_action(c, action, sizeof action)) {
            /* Nothing left: like most servers, close once the client has closed. */
            if (c->saw_fin)
                end_connection(c, PEER_FIN);
            return;
        }
        begin_action(c, action);
    }
}

static void take_input(struct connection *c, const unsigned char *data, size_t length)
{
    if (c->matched == c->rx)
        c->matched += matching(c->rx, data, length);
    c->adler = adler32(c->adler, data, length);
    c->rx += length;
    if (c->echoing)
        append_output(c, data, length);
}

/* The first line of a connection to `script`. Returns how many bytes it took. */
static size_t take_line(struct connection *c, const unsigned char *data, size_t length)
{
    size_t have = strlen(c->script), taken = 0;
    while (taken < length && data[taken] != '\n' && have < sizeof c->script - 1)
        c->script[have++] = (char)data[taken++];
    c->script[have] = '\0';
    if (taken == length)
        return taken;
    next_action(c, c->tag, sizeof c->tag);
    c->tagged = true;
    return taken + 1;
}

static void read_connection(struct connection *c)
{
    static unsigned char buffer[65536];
    ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR)
            end_connection(c, PEER_RST);
        return;
    }
    if (got == 0) {
        c->saw_fin = true;
        if (!c->tagged)
            end_connection(c, PEER_FIN);
        return;
    }
    size_t taken = c->tagged ? 0 : take_line(c, buffer, (size_t)got);
    if (taken < (size_t)got)
        take_input(c, buffer + taken, (size_t)got - taken);
}

static void read_to_error(struct connection *c)
{
    uint64_t before;
    do {
        before = c->rx;
        read_connection(c);
    } while (c->fd >= 0 && c->rx != before);
    if (c->fd >= 0)
        end_connection(c, PEER_RST);
}

/* Nothing more can be sent; what came before the reset can still be read. */
static void note_reset(struct connection *c)
{
    c->saw_rst = true;
    c->out_length = 0;
    c->pattern_left = c->tiny_left = 0;
}

static void write_connection(struct connection *c)
{
    const unsigned char *data = pattern_at(c->tx);
    size_t length = 1;
    if (c->out_length > 0) {
        data = c->out;
        length = c->out_length;
    } else if (c->pattern_left > 0) {
        length = c->pattern_left < PATTERN_PERIOD ? (size_t)c->pattern_left : PATTERN_PERIOD;
    }
    ssize_t sent = send(c->fd, data, length, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR)
            note_reset(c);
        return;
    }
    if (c->out_length > 0) {
        memmove(c->out, c->out + sent, c->out_length - (size_t)sent);
        c->out_length -= (size_t)sent;
        return;
    }
    c->tx += (uint64_t)sent;
    if (c->pattern_left > 0)
        c->pattern_left -= (uint64_t)sent;
    else
        c->tiny_left -= (uint64_t)sent;
}

static void forget_old_records(void)
{
    if (records <= MAX_RECORDS)
        return;
    unsigned kept = 0;
    for (struct connection **link = &connections; *link != NULL;) {
        struct connection *c = *link;
        if (c->fd < 0 && ++kept > MAX_RECORDS / 2) {
            *link = c->next;
            free(c);
            records--;
        } else {
            link = &c->next;
        }
    }
}

static void accept_connection(int listener, const char *tag, const char *script)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL)
        abort();
    c->fd = fd;
    c->adler = 1;
    c->reading = true;
    if (tag != NULL) {
        c->tagged = true;
        snprintf(c->tag, sizeof c->tag, "%s", tag);
        snprintf(c->script, sizeof c->script, "%s", script);
    }
    c->next = connections;
    connections = c;
    accepted++;
    records++;
    forget_old_records();
    run_script(c);
}

/* ---- UDP ---- */

static struct {
    unsigned long long count, bytes;
    char sizes[400]; /* of the first datagrams */
} sink;

static void answer_udp_echo(int fd)
{
    static unsigned char data[65536];
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    ssize_t got = recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&from, &size);
    if (got >= 0)
        sendto(fd, data, (size_t)got, 0, (struct sockaddr *)&from, size);
}

static void take_udp_sink(int fd)
{
    static unsigned char data[65536];
    ssize_t got = recv(fd, data, sizeof data, 0);
    if (got < 0)
        return;
    size_t used = strlen(sink.sizes);
    sink.count++;
    sink.bytes += (unsigned long long)got;
    if (used < sizeof sink.sizes - 8)
        snprintf(sink.sizes + used, sizeof sink.sizes - used, "%s%zd", used ? "," : "", got);
}

/* A datagram "10 0 1472" asks for datagrams of these sizes, "30x100" for 30 of 100 bytes; each
 * begins with its number as two bytes, as far as it has room, and goes on with the pattern. */
static void answer_udp_script(int fd)
{
    static unsigned char data[65536];
    char request[400];
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    ssize_t got = recvfrom(fd, request, sizeof request - 1, 0, (struct sockaddr *)&from, &size);
    if (got < 0)
        return;
    request[got] = '\0';
    unsigned number = 0;
    for (char *word = strtok(request, " \n"); word != NULL; word = strtok(NULL, " \n")) {
        unsigned count = 1, length = 0;
        if (sscanf(word, "%ux%u", &count, &length) != 2) {
            count = 1;
            length = (unsigned)atoi(word);
        }
        for (; count > 0; count--, number++) {
            memcpy(data, pattern, length);
            if (length > 0)
                data[0] = (unsigned char)(number / 256);
            if (length > 1)
                data[1] = (unsigned char)(number % 256);
            sendto(fd, data, length, 0, (struct sockaddr *)&from, size);
        }
    }
}

/* ---- name servers that do badly; dnsmasq sends them the names below their zones ---- */

#define SLOW_ANSWER_MS 1500
static struct late_answer {
    unsigned char data[512];
    size_t length;
    struct sockaddr_storage to;
    socklen_t to_size;
    uint64_t at; /* 0: free */
} late[16];

static size_t question_end(const unsigned char *data, size_t length)
{
    size_t at = 12;
    while (at < length && data[at] != 0)
        at += data[at] + 1u;
    return at + 5;
}

static void answer_dns_failure(int fd)
{
    unsigned char data[512];
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    ssize_t got = recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&from, &size);
    if (got < 12)
        return;
    data[2] |= 0x80;
    data[3] = (unsigned char)(0x80 | 2); /* SERVFAIL */
    sendto(fd, data, (size_t)got, 0, (struct sockaddr *)&from, size);
}

static void keep_dns_question(int fd)
{
    static const unsigned char answer[] = {
        0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1
    };
    struct late_answer spare, *l = &spare;
    for (size_t i = 0; i < sizeof late / sizeof *late; i++)
        if (late[i].at == 0)
            l = &late[i];
    l->to_size = sizeof l->to;
    ssize_t got = recvfrom(fd, l->data, sizeof l->data - sizeof answer, 0,
                           (struct sockaddr *)&l->to, &l->to_size);
    if (got < 12)
        return;
    size_t end = question_end(l->data, (size_t)got);
    if (end > (size_t)got)
        return;
    l->data[2] |= 0x80;
    l->data[3] = 0x80;
    l->length = end;
    memset(l->data + 6, 0, 6); /* no answer, no authority, no additional records */
    if (l->data[end - 3] == 1) {
        l->data[7] = 1;
        memcpy(l->data + end, answer, sizeof answer);
        l->length += sizeof answer;
    }
    l->at = now_ms() + SLOW_ANSWER_MS;
}

static void send_late_answers(int fd)
{
    for (size_t i = 0; i < sizeof late / sizeof *late; i++) {
        struct late_answer *l = &late[i];
        if (l->at == 0 || now_ms() < l->at)
            continue;
        sendto(fd, l->data, l->length, 0, (struct sockaddr *)&l->to, l->to_size);
        l->at = 0;
    }
}

/* ---- the control port ---- */

static struct connection *find(const char *tag)
{
    for (struct connection *c = connections; c != NULL; c = c->next)
        if (c->tagged && strcmp(c->tag, tag) == 0)
            return c;
    return NULL;
}

static void describe(FILE *to, const char *tag)
{
    const struct connection *c = find(tag);
    if (c == NULL) {
        fprintf(to, "none\n");
        return;
    }
    bool got_fin = c->saw_fin && c->ending != PEER_RST;
    fprintf(to, "rx=%llu tx=%llu match=%d matched=%llu adler=%u fin=%d end=%s\n",
            (unsigned long long)c->rx, (unsigned long long)c->tx, c->matched == c->rx,
            (unsigned long long)c->matched, c->adler, got_fin, ending_names[c->ending]);
}

static void obey(FILE *to, char *line)
{
    char *rest = NULL;
    const char *verb = strtok_r(line, " \r\n", &rest);
    if (verb == NULL)
        return;
    if (strcmp(verb, "stat") == 0) {
        describe(to, strtok_r(NULL, " \r\n", &rest));
    } else if (strcmp(verb, "do") == 0) {
        struct connection *c = find(strtok_r(NULL, " \r\n", &rest));
        if (c == NULL || c->fd < 0) {
            fprintf(to, "none\n");
            return;
        }
        size_t have = strlen(c->script);
        snprintf(c->script + have, sizeof c->script - have, " %s", strtok_r(NULL, "\r\n", &rest));
        c->hold = false;
        run_script(c);
        fprintf(to, "ok\n");
    } else if (strcmp(verb, "count") == 0) {
        unsigned open = 0;
        for (struct connection *c = connections; c != NULL; c = c->next)
            open += c->fd >= 0;
        fprintf(to, "open=%u accepted=%u\n", open, accepted);
    } else if (strcmp(verb, "udp") == 0) {
        fprintf(to, "count=%llu bytes=%llu sizes=%s\n", sink.count, sink.bytes, sink.sizes);
        memset(&sink, 0, sizeof sink);
    } else if (strcmp(verb, "closeall") == 0) {
        for (struct connection *c = connections; c != NULL; c = c->next)
            if (c->fd >= 0)
                end_connection(c, OWN_CLOSE);
        fprintf(to, "ok\n");
    } else {
        fprintf(to, "what?\n");
    }
}

static struct control {
    int fd;
    char line[MAX_SCRIPT + 100];
    size_t length;
} controls[16];

static void read_control(struct control *control)
{
    ssize_t got = recv(control->fd, control->line + control->length,
                       sizeof control->line - 1 - control->length, 0);
    if (got <= 0) {
        close(control->fd);
        control->fd = -1;
        control->length = 0;
        return;
    }
    control->length += (size_t)got;
    control->line[control->length] = '\0';
    char *end;
    while ((end = strchr(control->line, '\n')) != NULL) {
        char *text = NULL;
        size_t size = 0;
        FILE *to = open_memstream(&text, &size);
        if (to == NULL)
            abort();
        *end = '\0';
        size_t rest = control->length - (size_t)(end + 1 - control->line);
        obey(to, control->line);
        fclose(to);
        send(control->fd, text, size, MSG_NOSIGNAL);
        free(text);
        memmove(control->line, end + 1, rest + 1);
        control->length = rest;
    }
}

static void accept_control(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    for (size_t i = 0; fd >= 0 && i < sizeof controls / sizeof *controls; i++) {
        if (controls[i].fd < 0) {
            controls[i].fd = fd;
            return;
        }
    }
    if (fd >= 0)
        close(fd);
}

/* ---- ports ---- */

enum kind { LISTENER, CONTROL, UDP_ECHO, UDP_SCRIPT, UDP_SINK, DNS_FAILURE, DNS_SLOW, MUTE };

static struct source {
    enum kind kind;
    int fd;
    const char *tag, *script;
} sources[SOURCES];
static size_t source_count;

static void die(const char *what)
{
    fprintf(stderr, "peer: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Bound on both loopbacks, or on 127.0.0.1 only; port 0 takes any. */
static int bind_socket(int type, bool both, uint16_t port)
{
    int fd = socket(both ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);
    int off = 0, on = 1, rc;
    if (fd < 0 && both)
        return bind_socket(type, false, port);
    if (fd < 0)
        die("socket");
    if (port != 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (both) {
        struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        rc = bind(fd, (struct sockaddr *)&any, sizeof any);
    } else {
        struct sockaddr_in local = { .sin_family = AF_INET, .sin_port = htons(port) };
        local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        rc = bind(fd, (struct sockaddr *)&local, sizeof local);
    }
    if (rc < 0)
        die("bind");
    return fd;
}

static uint16_t port_of(int fd)
{
    /* The port stands at the same place in both families. */
    struct sockaddr_in6 name = { 0 };
    socklen_t size = sizeof name;
    if (getsockname(fd, (struct sockaddr *)&name, &size) < 0)
        die("getsockname");
    return ntohs(name.sin6_port);
}

static void add(const char *name, enum kind kind, int fd, const char *script)
{
    int size = 4 << 20;
    if (kind != LISTENER && kind != CONTROL)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    sources[source_count++] =
        (struct source){ kind, fd, strcmp(name, "script") ? name : NULL, script };
    printf("%s=%u ", name, port_of(fd));
}

static int listening(bool both)
{
    int fd = bind_socket(SOCK_STREAM, both, 0);
    if (listen(fd, 4096) < 0)
        die("listen");
    return fd;
}

/* A port whose backlog is full: the kernel does not answer another SYN. */
static void add_silent(void)
{
    int fd = bind_socket(SOCK_STREAM, false, 0);
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port_of(fd)) };
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listen(fd, 0) < 0)
        die("listen");
    for (int i = 0; i < 4; i++) {
        int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (client < 0 ||
            (connect(client, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS))
            die("connect");
    }
    printf("silent=%u ", port_of(fd));
}

static void open_ports(bool name_servers)
{
    add("control", CONTROL, listening(true), NULL);
    add("script", LISTENER, listening(true), NULL);
    add("echo", LISTENER, listening(true), "echo");
    add("discard", LISTENER, listening(true), "");
    add("closer", LISTENER, listening(true), "close");
    add("resetter", LISTENER, listening(true), "rst");
    add("greeter", LISTENER, listening(true), "text:hello");
    add("ipv4", LISTENER, listening(false), "text:hello"); /* on 127.0.0.1 only */
    add_silent();
    printf("refused=%u ", port_of(bind_socket(SOCK_STREAM, true, 0)));
    add("udp_echo", UDP_ECHO, bind_socket(SOCK_DGRAM, true, 0), NULL);
    add("udp_script", UDP_SCRIPT, bind_socket(SOCK_DGRAM, true, 0), NULL);
    add("udp_sink", UDP_SINK, bind_socket(SOCK_DGRAM, true, 0), NULL);
    add("udp_silent", MUTE, bind_socket(SOCK_DGRAM, true, 0), NULL);
    if (name_servers) {
        add("dns_silent", MUTE, bind_socket(SOCK_DGRAM, false, 5301), NULL);
        add("dns_failure", DNS_FAILURE, bind_socket(SOCK_DGRAM, false, 5302), NULL);
        add("dns_slow", DNS_SLOW, bind_socket(SOCK_DGRAM, false, 5303), NULL);
    }
    printf("\n");
    fflush(stdout);
}

/* ---- the loop ---- */

static void serve(struct source *s)
{
    switch (s->kind) {
    case LISTENER:
        accept_connection(s->fd, s->tag, s->script);
        break;
    case CONTROL:
        accept_control(s->fd);
        break;
    case UDP_ECHO:
        answer_udp_echo(s->fd);
        break;
    case UDP_SCRIPT:
        answer_udp_script(s->fd);
        break;
    case UDP_SINK:
        take_udp_sink(s->fd);
        break;
    case DNS_FAILURE:
        answer_dns_failure(s->fd);
        break;
    case DNS_SLOW:
        keep_dns_question(s->fd);
        break;
    case MUTE:
        break; /* what arrives stays unread, so no ICMP refusal goes out */
    }
}

static void run_once(void)
{
    static struct pollfd *fds;
    static size_t room;
    size_t need = SOURCES + 16 + 1, n = 0;
    int timeout = -1;
    for (struct connection *c = connections; c != NULL; c = c->next)
        need += c->fd >= 0;
    if (need > room) {
        room = need * 2;
        fds = realloc(fds, room * sizeof *fds);
        if (fds == NULL)
            abort();
    }
    for (size_t i = 0; i < source_count; i++) {
        fds[n++] = (struct pollfd){ sources[i].fd, sources[i].kind == MUTE ? 0 : POLLIN, 0 };
    }
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++)
        fds[n++] = (struct pollfd){ controls[i].fd, POLLIN, 0 };
    for (struct connection *c = connections; c != NULL; c = c->next) {
        c->poll = NULL;
        if (c->fd < 0)
            continue;
        if (c->saw_rst && c->reading) {
            read_to_error(c);
            continue;
        }
        /* An echo stops reading while the client does not take what came back. */
        bool input = c->reading && !c->saw_fin && (!c->echoing || c->out_length < (1u << 18));
        short events = (short)((input ? POLLIN : 0) | (is_busy(c) ? POLLOUT : 0));
        fds[n] =
            (struct pollfd){ !c->saw_rst && (events != 0 || !c->saw_fin) ? c->fd : -1, events, 0 };
        c->poll = &fds[n++];
        if (c->wait_until != 0 && timeout < 0)
            timeout = 5;
    }
    for (size_t i = 0; i < sizeof late / sizeof *late; i++)
        if (late[i].at != 0)
            timeout = 5;
    if (poll(fds, n, timeout) < 0 && errno != EINTR)
        die("poll");
    for (struct connection *c = connections; c != NULL; c = c->next) {
        if (c->poll == NULL || c->fd < 0)
            continue;
        short got = c->poll->revents;
        if (got & POLLERR) {
            note_reset(c);
            continue;
        }
        if (c->fd >= 0 && (got & (POLLIN | POLLHUP)) && (c->poll->events & POLLIN))
            read_connection(c);
        if (c->fd >= 0 && (got & POLLOUT) && is_busy(c))
            write_connection(c);
        run_script(c);
    }
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++)
        if (controls[i].fd >= 0 && fds[source_count + i].revents != 0 &&
            fds[source_count + i].fd == controls[i].fd)
            read_control(&controls[i]);
    for (size_t i = 0; i < source_count; i++) {
        if (fds[i].revents & POLLIN)
            serve(&sources[i]);
        if (sources[i].kind == DNS_SLOW)
            send_late_answers(sources[i].fd);
    }
}

int main(void)
{
    struct rlimit files;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* Ctrl-C is for the one that started it */
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++)
        controls[i].fd = -1;
    make_pattern();
    open_ports(getenv("SOCKETCORE_NETNS") != NULL);
    for (;;)
        run_once();
}
