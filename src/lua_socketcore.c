/*
 * The Lua binding: check, call, push. The only file of the core that knows lua.h; what a call does
 * stands in socketcore.h, what scripts may rely on in the README.
 *
 * Each Lua function that allocates may fail, and may run finalizers, which may call any function
 * here: read, close and destroy the same socket, take its messages. So all that Lua allocates for
 * a call is allocated before the call changes anything, and no pointer of the core is held over
 * such a function.
 *
 * SPDX-License-Identifier: MIT
 */
#include "socketcore.h"
#include "socketcore_port.h"

#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>

/* The state that has the core; its address is also the registry's key for the module table. */
static lua_State *owner;
/* Its address is the registry's key for what calls sc_stop. */
static const char stop_key = 's';

/* Counts the calls that took data or a message, or that closed or destroyed a socket: tells whether
 * a finalizer has made one. */
static unsigned changes;

#define ALPN_MAX 8
/* Received data up to this is copied to the C stack first, more of it to memory from Lua. */
#ifndef SC_RECV_ON_STACK
#define SC_RECV_ON_STACK 2048
#endif

/* ---- arguments ---- */

/* A number as an int, -1 for what can never be an id: fractions, NaN, out of range. */
static int check_id(lua_State *L, int arg)
{
    lua_Number number = luaL_checknumber(L, arg);

    if (!(number >= 0 && number <= INT_MAX) || number != (lua_Number)(int)number)
        return -1;
    return (int)number;
}

static bool to_int(lua_State *L, int arg, int min, int max, int *out)
{
    lua_Number number = lua_tonumber(L, arg);

    if (!(number >= min && number <= max) || number != (lua_Number)(int)number)
        return false;
    *out = (int)number;
    return true;
}

static int check_range(lua_State *L, int arg, int min, int max, const char *what)
{
    int value = min;

    luaL_checknumber(L, arg);
    if (!to_int(L, arg, min, max, &value)) {
        lua_pushfstring(L, "%s must be %d to %d", what, min, max);
        luaL_argerror(L, arg, lua_tostring(L, -1));
    }
    return value;
}

static int opt_range(lua_State *L, int arg, int min, int max, int absent, const char *what)
{
    return lua_isnoneornil(L, arg) ? absent : check_range(L, arg, min, max, what);
}

static bool is_digits(lua_State *L, int arg)
{
    size_t length;
    const char *text;

    if (lua_type(L, arg) != LUA_TSTRING)
        return false;
    text = lua_tolstring(L, arg, &length);
    return length && strspn(text, "0123456789") == length;
}

/* Scripts write (type, addr, port) and (type, port, addr): a number is the port, and of two
 * strings the one of digits only. */
static int find_port(lua_State *L)
{
    if (lua_type(L, 3) == LUA_TNUMBER)
        return 3;
    if (lua_type(L, 2) == LUA_TNUMBER)
        return 2;
    if (is_digits(L, 3))
        return 3;
    if (is_digits(L, 2))
        return 2;
    luaL_argerror(L, 3, "port expected: a number, or a string of digits");
    return 0;
}

static const char *check_host(lua_State *L, int arg)
{
    size_t length;
    const char *host;

    if (lua_type(L, arg) != LUA_TSTRING)
        luaL_argerror(L, arg, "address expected: a name or an IP address as a string");
    host = lua_tolstring(L, arg, &length);
    luaL_argcheck(L, length == strlen(host), arg, "address contains a zero byte");
    return host;
}

static enum sc_type check_type(lua_State *L, int arg)
{
    int type = check_range(L, arg, 0, 4, "type");

    return type == 3 ? SC_RAW : (enum sc_type)type;
}

/* ---- the cert table ---- */

static const char *const cert_keys[] = {
    "hostName",    "caCert", "clientCert", "clientKey", "clientPassword", "psk",
    "pskIdentity", "pin",    "alpn",       "resume",    "insist",
};

static void refuse_cert(lua_State *L, int arg, const char *key, const char *wanted)
{
    lua_pushfstring(L, "cert.%s: %s expected, got %s", key, wanted, luaL_typename(L, -1));
    luaL_argerror(L, arg, lua_tostring(L, -1));
}

/* A string field of the cert table at `arg`; absent: empty. The string stays on the stack: the
 * table may have made it for this call. */
static struct sc_bytes check_cert_field(lua_State *L, int arg, const char *key)
{
    struct sc_bytes bytes = { NULL, 0 };

    lua_getfield(L, arg, key);
    if (lua_type(L, -1) == LUA_TSTRING)
        bytes.data = lua_tolstring(L, -1, &bytes.length);
    else if (!lua_isnil(L, -1))
        refuse_cert(L, arg, key, "string");
    return bytes;
}

static enum sc_insist check_cert_insist(lua_State *L, int arg)
{
    enum sc_insist insist = SC_INSIST_DEFAULT;
    int value = 0;

    lua_getfield(L, arg, "insist");
    if (!lua_isnil(L, -1)) {
        if (!lua_isnumber(L, -1))
            refuse_cert(L, arg, "insist", "number");
        if (!to_int(L, -1, 0, 1, &value))
            luaL_argerror(L, arg, "cert.insist must be 0 or 1");
        insist = (enum sc_insist)value;
    }
    lua_pop(L, 1);
    return insist;
}

static bool check_cert_resume(lua_State *L, int arg)
{
    bool may_resume = true;

    lua_getfield(L, arg, "resume");
    if (lua_isboolean(L, -1))
        may_resume = lua_toboolean(L, -1);
    else if (!lua_isnil(L, -1))
        refuse_cert(L, arg, "resume", "boolean");
    lua_pop(L, 1);
    return may_resume;
}

/* The array of names in cert.alpn. The names stay on the stack. */
static void check_cert_alpn(lua_State *L, int arg, struct sc_cert *cert, const char **alpn)
{
    size_t length;

    lua_getfield(L, arg, "alpn");
    int names = lua_gettop(L);
    cert->alpn = alpn;
    cert->alpn_count = 0;
    if (lua_isnil(L, names))
        return;
    if (!lua_istable(L, names))
        refuse_cert(L, arg, "alpn", "table");
    for (;;) {
        lua_rawgeti(L, names, (int)cert->alpn_count + 1);
        if (lua_isnil(L, -1))
            return;
        if (lua_type(L, -1) != LUA_TSTRING)
            refuse_cert(L, arg, "alpn[...]", "string");
        if (cert->alpn_count == ALPN_MAX)
            luaL_argerror(L, arg, "cert.alpn: at most 8 names");
        const char *name = lua_tolstring(L, -1, &length);
        if (strlen(name) != length)
            luaL_argerror(L, arg, "cert.alpn: a name contains a zero byte");
        alpn[cert->alpn_count++] = name;
    }
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* True when `edits` letters at most, inserted, left out, replaced or swapped with the next, make
 * one name of the other. Case does not count. */
static bool is_near(const char *a, const char *b, int edits)
{
    while (*a && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    if (*a == *b)
        return true;
    if (!edits--)
        return false;
    if (*a && *b &&
        (is_near(a + 1, b + 1, edits) ||
         (lower(a[0]) == lower(b[1]) && lower(a[1]) == lower(b[0]) &&
          is_near(a + 2, b + 2, edits))))
        return true;
    return (*a && is_near(a + 1, b, edits)) || (*b && is_near(a, b + 1, edits));
}

/* The key that was meant by one that is none, or NULL. Of a short name a single letter may be
 * wrong: with two it is another word. */
static const char *find_meant(const char *name)
{
    for (int edits = 0; edits <= 2; edits++)
        for (size_t i = 0; i < sizeof(cert_keys) / sizeof(cert_keys[0]); i++)
            if ((edits < 2 || strlen(cert_keys[i]) > 4) && is_near(name, cert_keys[i], edits))
                return cert_keys[i];
    return NULL;
}

static bool is_cert_key(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof(cert_keys) / sizeof(cert_keys[0]); i++)
        if (strlen(cert_keys[i]) == length && strcmp(cert_keys[i], name) == 0)
            return true;
    return false;
}

/* The key at -2. */
static void check_cert_key(lua_State *L, int arg)
{
    char text[128];
    size_t length;

    if (lua_type(L, -2) == LUA_TSTRING) {
        const char *name = lua_tolstring(L, -2, &length);
        if (is_cert_key(name, length))
            return;
        const char *meant = find_meant(name);
        if (meant) {
            lua_pushfstring(L, "cert.%s: no such key, did you mean %s?", name, meant);
            luaL_argerror(L, arg, lua_tostring(L, -1));
        }
        snprintf(text, sizeof(text), "sock_conn: cert has the unknown key \"%.60s\": it is ignored",
                 name);
    } else {
        snprintf(text, sizeof(text), "sock_conn: cert has a key that is a %s: it is ignored",
                 luaL_typename(L, -2));
    }
    sc_port_log(SC_LOG_WARN, text);
}

/* Leaves the strings on the stack. */
static void check_cert(lua_State *L, int arg, struct sc_cert *cert, const char **alpn,
                       enum sc_insist *insist)
{
    luaL_checkstack(L, LUA_MINSTACK + ALPN_MAX, "cert");
    for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1))
        check_cert_key(L, arg);
    struct sc_bytes name = check_cert_field(L, arg, "hostName");
    if (name.data && strlen(name.data) != name.length)
        luaL_argerror(L, arg, "cert.hostName contains a zero byte");
    cert->host_name = name.data;
    cert->ca_cert = check_cert_field(L, arg, "caCert");
    cert->client_cert = check_cert_field(L, arg, "clientCert");
    cert->client_key = check_cert_field(L, arg, "clientKey");
    cert->client_password = check_cert_field(L, arg, "clientPassword");
    cert->psk = check_cert_field(L, arg, "psk");
    cert->psk_identity = check_cert_field(L, arg, "pskIdentity");
    cert->pin = check_cert_field(L, arg, "pin");
    check_cert_alpn(L, arg, cert, alpn);
    cert->no_resume = !check_cert_resume(L, arg);
    *insist = check_cert_insist(L, arg);
}

/* ---- calls ---- */

static void copy_text(char *out, const char *text)
{
    snprintf(out, SC_REASON_MAX, "%s", text);
}

static int push_failure(lua_State *L, enum sc_error error, const char *reason)
{
    char text[SC_REASON_MAX];

    copy_text(text, reason);
    lua_pushnil(L);
    lua_pushinteger(L, error);
    lua_pushstring(L, text);
    return 3;
}

static int sock_conn(lua_State *L)
{
    struct sc_open_args args = { .insist = SC_INSIST_DEFAULT };
    struct sc_cert cert = { 0 };
    const char *alpn[ALPN_MAX];
    const char *reason = NULL;
    int id = -1;
    int next = 5;

    args.type = check_type(L, 1);
    int port_arg = find_port(L);
    args.host = check_host(L, port_arg == 3 ? 2 : 3);
    args.port = (uint16_t)(args.type == SC_RAW ? check_range(L, port_arg, 0, 255, "IP protocol")
                                               : check_range(L, port_arg, 0, 65535, "port"));
    lua_settop(L, 8);
    if (lua_istable(L, 4)) {
        check_cert(L, 4, &cert, alpn, &args.insist);
        args.cert = &cert;
    } else if (lua_type(L, 4) == LUA_TNUMBER && args.type != SC_SSL) {
        next = 4;
    } else if (!lua_isnoneornil(L, 4)) {
        lua_pushfstring(L, "cert: table expected, got %s", luaL_typename(L, 4));
        luaL_argerror(L, 4, lua_tostring(L, -1));
    }
    args.recv_buffer = (size_t)opt_range(L, next, 0, INT_MAX, 0, "recvBufferLen");
    args.insist = (enum sc_insist)opt_range(L, next + 1, 0, 1, args.insist, "insist");
    args.local_port = (uint16_t)opt_range(L, next + 2, 0, 65535, 0, "localPort");
    /* SNI is sent for every name anyway, and for an IP literal never. */
    opt_range(L, next + 3, 0, 1, 0, "hostNameFlag");
    enum sc_error error = sc_open(&args, &id, &reason);
    if (error != SC_OK)
        return push_failure(L, error, reason);
    lua_pushinteger(L, id);
    return 1;
}

static int sock_send(lua_State *L)
{
    size_t length;
    int id = check_id(L, 1);
    const char *data = luaL_checklstring(L, 2, &length);
    enum sc_error error = sc_send(id, data, length);

    lua_pushinteger(L, error == SC_OK);
    lua_pushinteger(L, error);
    return 2;
}

/* Copies up to `length` bytes of received data. Returns how many. */
static size_t copy_received(int id, char *out, size_t length)
{
    size_t offset = 0;

    while (offset < length) {
        const void *data;
        size_t piece = sc_peek(id, offset, &data);
        if (!piece)
            break;
        if (piece > length - offset)
            piece = length - offset;
        memcpy(out + offset, data, piece);
        offset += piece;
    }
    return offset;
}

/* lua_pushlstring may run finalizers before it copies: it gets a copy, and the data is taken only
 * if it is still there afterwards. */
static int sock_recv(lua_State *L)
{
    char small[SC_RECV_ON_STACK];
    int id = check_id(L, 1);
    lua_Number wanted = luaL_checknumber(L, 2);
    unsigned before;
    size_t length;

    if (!(wanted >= 0))
        wanted = 0;
    do {
        lua_settop(L, 2);
        before = changes;
        length = sc_available(id);
        if (wanted < (lua_Number)length)
            length = (size_t)wanted;
        char *copy = small;
        if (length > sizeof(small))
            copy = lua_newuserdata(L, length);
        length = copy_received(id, copy, length);
        lua_pushlstring(L, copy, length);
    } while (before != changes);
    changes++;
    sc_consume(id, length);
    return 1;
}

static int sock_close(lua_State *L)
{
    int id = check_id(L, 1);

    changes++;
    lua_pushinteger(L, sc_close(id));
    return 1;
}

static int sock_destroy(lua_State *L)
{
    int id = check_id(L, 1);

    changes++;
    lua_pushinteger(L, sc_destroy(id));
    return 1;
}

static int sock_setopt(lua_State *L)
{
    int id = check_id(L, 1);
    int level = -1;
    int name = -1;
    int value = -1;
    bool is_ok;

    luaL_checknumber(L, 2);
    luaL_checknumber(L, 3);
    luaL_checkany(L, 4);
    is_ok = to_int(L, 2, 0, INT_MAX, &level) && to_int(L, 3, 0, INT_MAX, &name) &&
            lua_type(L, 4) == LUA_TNUMBER && to_int(L, 4, 0, INT_MAX, &value) &&
            sc_setopt(id, level, name, value) == SC_OK;
    lua_pushinteger(L, is_ok ? 0 : -1);
    return 1;
}

/* A count that may not fit into the lua_Integer of a Lua 5.1 with 32 bits. */
static void push_count(lua_State *L, uint64_t value)
{
#if LUA_VERSION_NUM >= 503
    lua_pushinteger(L, (lua_Integer)value);
#else
    lua_pushnumber(L, (lua_Number)value);
#endif
}

static int sock_getremainbuf(lua_State *L)
{
    push_count(L, sc_send_space(check_id(L, 1)));
    return 1;
}

static void set_count(lua_State *L, const char *name, uint64_t value)
{
    push_count(L, value);
    lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static void set_string(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

static const char *name_of(enum sc_state state)
{
    switch (state) {
    case SC_STATE_FREE:
        break;
    case SC_STATE_RESOLVING:
        return "resolving";
    case SC_STATE_CONNECTING:
        return "connecting";
    case SC_STATE_CONNECTED:
        return "connected";
    case SC_STATE_CLOSING:
        return "closing";
    case SC_STATE_LOST:
        return "lost";
    case SC_STATE_CLOSED:
        return "closed";
    }
    return "free";
}

static void set_endpoint(lua_State *L, const char *address_name, const char *address,
                         const char *port_name, uint16_t port)
{
    if (address[0])
        set_string(L, address_name, address);
    if (port)
        set_integer(L, port_name, port);
}

static void set_boolean(lua_State *L, const char *name, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

static void set_text(lua_State *L, const char *name, const char *text)
{
    if (text[0])
        set_string(L, name, text);
}

static void set_tls(lua_State *L, const struct sc_tls_info *tls)
{
    set_string(L, "tls_version", tls->version);
    set_string(L, "cipher_suite", tls->cipher_suite);
    set_boolean(L, "verified", tls->is_verified);
    set_boolean(L, "resumed", tls->is_resumed);
    set_boolean(L, "time_checked", tls->is_verified && !tls->has_no_clock);
    set_text(L, "alpn", tls->alpn);
    set_text(L, "peer_subject", tls->subject);
    set_text(L, "peer_issuer", tls->issuer);
    set_text(L, "peer_expires", tls->expires);
}

static int sock_info(lua_State *L)
{
    struct sc_info info;
    struct sc_tls_info tls;
    char reason[SC_REASON_MAX];
    int id = check_id(L, 1);

    if (!sc_get_info(id, &info)) {
        lua_pushnil(L);
        return 1;
    }
    bool has_tls = sc_get_tls_info(id, &tls);
    if (info.error != SC_OK)
        copy_text(reason, info.reason);
    lua_createtable(L, 0, 12);
    set_integer(L, "type", info.type);
    set_string(L, "state", name_of(info.state));
    set_endpoint(L, "local_address", info.local_address, "local_port", info.local_port);
    set_endpoint(L, "remote_address", info.remote_address, "remote_port", info.remote_port);
    set_count(L, "bytes_in", info.bytes_in);
    set_count(L, "bytes_out", info.bytes_out);
    set_count(L, "age_ms", info.age_ms);
    if (info.error != SC_OK) {
        set_integer(L, "error", info.error);
        set_string(L, "reason", reason);
    }
    if (has_tls)
        set_tls(L, &tls);
    return 1;
}

/* The sessions as a string; with one, adds those in it. */
static int tls_sessions(lua_State *L)
{
    bool is_load = !lua_isnoneornil(L, 1);
    size_t length = 0;
    size_t size;
    void *buffer;

    const char *saved = is_load ? luaL_checklstring(L, 1, &length) : NULL;
    if (!sc_is_running())
        return push_failure(L, SC_ERR_CLSD, "socketcore is closed");
    if (is_load) {
        enum sc_error error = sc_tls_load_sessions(saved, length);
        if (error == SC_ERR_NOMEM)
            luaL_error(L, "tls_sessions: out of memory");
        if (error != SC_OK)
            luaL_argerror(L, 1, "not a string that tls_sessions returned");
        return 0;
    }
    /* While Lua finds memory for them there may be more of them. */
    length = sc_tls_save_sessions(NULL, 0);
    do {
        lua_settop(L, 1);
        size = length;
        buffer = lua_newuserdata(L, size);
        length = sc_tls_save_sessions(buffer, size);
    } while (length > size);
    if (!length)
        return push_failure(L, SC_ERR_NOMEM, "out of memory");
    lua_pushlstring(L, buffer, length);
    memset(buffer, 0, size); /* there are keys in it */
    return 1;
}

/* ---- options ---- */

/* Of the table at the top. */
static void set_options(lua_State *L)
{
    struct sc_config now = *sc_get_config();
    const struct sc_config *c = &now;

    set_count(L, "max_sockets", c->max_sockets);
    set_count(L, "recv_ind_max", c->recv_ind_max);
    set_count(L, "close_grace_ms", c->close_grace_ms);
    set_count(L, "linger_ms", c->linger_ms);
    set_count(L, "connect_timeout_ms", c->connect_timeout_ms);
    set_count(L, "send_buffer", c->send_buffer);
    set_count(L, "recv_buffer", c->recv_buffer);
    set_count(L, "tls_record_max", c->tls_record_max);
}

/* The option of the key at -2 set to the value at -1. */
static void take_option(lua_State *L, struct sc_config *c)
{
    int value = 0;

    if (lua_type(L, -2) != LUA_TSTRING)
        luaL_argerror(L, 1, "option names must be strings");
    const char *name = lua_tostring(L, -2);
    if (lua_type(L, -1) != LUA_TNUMBER || !to_int(L, -1, 0, INT_MAX, &value)) {
        lua_pushfstring(L, "%s must be a whole number of 0 or more", name);
        luaL_argerror(L, 1, lua_tostring(L, -1));
    }
    if (strcmp(name, "max_sockets") == 0)
        c->max_sockets = (size_t)value;
    else if (strcmp(name, "recv_ind_max") == 0)
        c->recv_ind_max = (size_t)value;
    else if (strcmp(name, "close_grace_ms") == 0)
        c->close_grace_ms = (uint32_t)value;
    else if (strcmp(name, "linger_ms") == 0)
        c->linger_ms = (uint32_t)value;
    else if (strcmp(name, "connect_timeout_ms") == 0)
        c->connect_timeout_ms = (uint32_t)value;
    else if (strcmp(name, "send_buffer") == 0)
        c->send_buffer = (size_t)value;
    else if (strcmp(name, "recv_buffer") == 0)
        c->recv_buffer = (size_t)value;
    else if (strcmp(name, "tls_record_max") == 0)
        c->tls_record_max = (size_t)value;
    else {
        lua_pushfstring(L, "no option has the name %s", name);
        luaL_argerror(L, 1, lua_tostring(L, -1));
    }
}

/* The table that is returned is complete before an option is set: then only its values change. */
static int config(lua_State *L)
{
    bool is_set = !lua_isnoneornil(L, 1);

    if (is_set)
        luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_createtable(L, 0, 8);
    set_options(L);
    if (is_set) {
        struct sc_config wanted = *sc_get_config();
        for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1))
            take_option(L, &wanted);
        const char *problem = sc_set_config(&wanted);
        if (problem)
            luaL_argerror(L, 1, problem);
        set_options(L);
    }
    return 1;
}

static int totals(lua_State *L)
{
    struct sc_totals now;

    sc_get_totals(&now);
    lua_createtable(L, 0, 2);
    set_count(L, "sockets", now.sockets);
    set_count(L, "lingering", now.lingering);
    return 1;
}

/* ---- messages ---- */

/* The names of a message's fields. A table in the registry, whose key is the address of this one,
 * has them as strings that Lua has made already. */
enum key {
    KEY_ID = 1,
    KEY_SOCKET,
    KEY_RESULT,
    KEY_SEND_LEN,
    KEY_RECV_LEN,
    KEY_ERROR,
    KEY_REASON,
    KEYS_END
};
static const char *const key_names[KEYS_END] = {
    [KEY_ID] = "id",
    [KEY_SOCKET] = "socket_index",
    [KEY_RESULT] = "result",
    [KEY_SEND_LEN] = "send_len",
    [KEY_RECV_LEN] = "recv_len",
    [KEY_ERROR] = "error",
    [KEY_REASON] = "reason",
};

static void make_keys(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)key_names);
    lua_createtable(L, KEYS_END - 1, 0);
    for (int key = KEY_ID; key < KEYS_END; key++) {
        lua_pushstring(L, key_names[key]);
        lua_rawseti(L, -2, key);
    }
    lua_rawset(L, LUA_REGISTRYINDEX);
}

/* Pushes the table of keys. */
static void push_keys(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)key_names);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (!lua_istable(L, -1))
        luaL_error(L, "rtos.receive: this Lua state has not required socketcore");
}

/* Sets a field of the message at `table`; the keys are above it. */
static void set_field(lua_State *L, int table, enum key key, size_t value)
{
    lua_rawgeti(L, table + 1, key);
    push_count(L, value);
    lua_rawset(L, table);
}

static void set_error(lua_State *L, int table, enum sc_error error)
{
    lua_rawgeti(L, table + 1, KEY_ERROR);
    lua_pushinteger(L, error);
    lua_rawset(L, table);
    lua_rawgeti(L, table + 1, KEY_REASON);
    lua_pushvalue(L, table + 2);
    lua_rawset(L, table);
}

/* Pushes all that Lua has to find memory for: the table, with room for each field, and above it the
 * keys and the reason's text. Returns `reason`, or NULL when it may be gone. */
static const char *prepare_message(lua_State *L, const char *reason)
{
    char text[SC_REASON_MAX];
    unsigned before = changes;

    if (reason)
        copy_text(text, reason);
    lua_createtable(L, 0, reason ? 6 : 4);
    push_keys(L);
    if (reason)
        lua_pushstring(L, text);
    return before == changes ? reason : NULL;
}

int sc_push_message(lua_State *L, int socket)
{
    int table = lua_gettop(L) + 1;
    struct sc_message m;
    const char *reason = prepare_message(L, NULL);

    while (!sc_take_message(socket, reason, &m)) {
        lua_settop(L, table - 1);
        if (!m.id)
            return 0;
        reason = prepare_message(L, m.reason);
    }
    changes++;
    set_field(L, table, KEY_ID, m.id);
    set_field(L, table, KEY_SOCKET, (size_t)m.socket);
    set_field(L, table, KEY_RESULT, (size_t)m.result);
    if (m.id == SC_MSG_SEND_CNF)
        set_field(L, table, KEY_SEND_LEN, m.length);
    if (m.id == SC_MSG_RECV_IND)
        set_field(L, table, KEY_RECV_LEN, m.length);
    if (m.reason)
        set_error(L, table, m.error);
    lua_settop(L, table);
    return 1;
}

/* ---- the module ---- */

static const luaL_Reg functions[] = {
    { "sock_conn", sock_conn },
    { "sock_conn_ext", sock_conn },
    { "sock_send", sock_send },
    { "sock_recv", sock_recv },
    { "sock_close", sock_close },
    { "sock_destroy", sock_destroy },
    { "sock_setopt", sock_setopt },
    { "sock_getremainbuf", sock_getremainbuf },
    { "sock_info", sock_info },
    { "config", config },
    { "tls_sessions", tls_sessions },
    { "totals", totals },
    { NULL, NULL },
};

static const struct {
    const char *name;
    int value;
} constants[] = {
    { "ERR_UNKOWN", SC_ERR_UNKNOWN },
    { "ERR_UNKNOWN", SC_ERR_UNKNOWN },
    { "ERR_OK", SC_OK },
    { "ERR_ENOMEM", SC_ERR_NOMEM },
    { "ERR_ENOBUFS", SC_ERR_NOBUFS },
    { "ERR_ETIMEOUT", SC_ERR_TIMEOUT },
    { "ERR_ERTE", SC_ERR_RTE },
    { "ERR_EINPROGRESS", SC_ERR_INPROGRESS },
    { "ERR_EINVAL", SC_ERR_INVAL },
    { "ERR_EWOULDBLOCK", SC_ERR_WOULDBLOCK },
    { "ERR_EADDRINUSE", SC_ERR_ADDRINUSE },
    { "ERR_EALREADY", SC_ERR_ALREADY },
    { "ERR_EISCONN", SC_ERR_ISCONN },
    { "ERR_ENOTCONN", SC_ERR_NOTCONN },
    { "ERR_EIF", SC_ERR_IF },
    { "ERR_EABORT", SC_ERR_ABORT },
    { "ERR_ERST", SC_ERR_RST },
    { "ERR_ECLSD", SC_ERR_CLSD },
    { "ERR_EARG", SC_ERR_ARG },
    { "ERR_EIO", SC_ERR_IO },
    { "ERR_SSL_EHANDESHAK", SC_ERR_SSL_HANDSHAKE },
    { "ERR_SSL_EINIT", SC_ERR_SSL_INIT },
    { "ERR_SSL_EINVALID", SC_ERR_SSL_INVALID },
    { "SOL_SOCKET", SC_SOL_SOCKET },
    { "SO_REUSEADDR", SC_SO_REUSEADDR },
    { "SO_KEEPALIVE", SC_SO_KEEPALIVE },
    { "IPPROTO_TCP", SC_IPPROTO_TCP },
    { "TCP_KEEPIDLE", SC_TCP_KEEPIDLE },
    { "TCP_KEEPINTVL", SC_TCP_KEEPINTVL },
    { "TCP_KEEPCNT", SC_TCP_KEEPCNT },
};

static void push_module(lua_State *L)
{
    lua_createtable(L, 0, 48);
    for (const luaL_Reg *f = functions; f->name; f++) {
        lua_pushcfunction(L, f->func);
        lua_setfield(L, -2, f->name);
    }
    for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++)
        set_integer(L, constants[i].name, constants[i].value);
    set_string(L, "_VERSION", "socketcore " SC_VERSION);
}

/* Has sc_stop called by lua_close, once it is in the registry and its value is true. */
static int stop(lua_State *L)
{
    bool *is_running = lua_touserdata(L, 1);

    if (*is_running) {
        *is_running = false;
        owner = NULL;
        sc_stop();
    }
    return 0;
}

static bool *push_stopper(lua_State *L)
{
    bool *is_running = lua_newuserdata(L, sizeof(*is_running));

    *is_running = false;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, stop);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    return is_running;
}

static bool push_known_module(lua_State *L)
{
    lua_pushlightuserdata(L, &owner);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (lua_istable(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}

/* Lets a failed require be tried again: Lua 5.1 would answer it with "loop or previous error". */
static void allow_require(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    if (lua_istable(L, -1)) {
        lua_pushnil(L);
        lua_setfield(L, -2, "socketcore");
    }
    lua_pop(L, 1);
}

static void check_owner(lua_State *L)
{
    if (owner)
        luaL_error(L, "socketcore: another Lua state of this process has it, close that one first");
}

/* Makes a place in the registry, so that store_reserved takes no memory. */
static void reserve(lua_State *L, const void *key)
{
    lua_pushlightuserdata(L, (void *)key);
    lua_pushboolean(L, false);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static void store_reserved(lua_State *L, const void *key, int value)
{
    lua_pushlightuserdata(L, (void *)key);
    lua_pushvalue(L, value);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static void set_global(lua_State *L)
{
    lua_pushvalue(L, -1);
    lua_setglobal(L, "socketcore");
}

/* Nothing here can fail once the core is started. */
static void start(lua_State *L, int stopper, int module, bool *is_running)
{
    const char *reason;

    check_owner(L);
    if (sc_start(&reason) != SC_OK) {
        lua_pushnil(L);
        lua_setglobal(L, "socketcore");
        luaL_error(L, "socketcore does not start: %s", reason);
    }
    owner = L;
    *is_running = true;
    store_reserved(L, &stop_key, stopper);
    store_reserved(L, &owner, module);
}

int luaopen_socketcore(lua_State *L)
{
    if (!push_known_module(L)) {
        allow_require(L);
        check_owner(L);
        reserve(L, &owner);
        reserve(L, &stop_key);
        make_keys(L);
        bool *is_running = push_stopper(L);
        int stopper = lua_gettop(L);
        push_module(L);
        set_global(L);
        /* A finalizer, or the globals' metatable, may have opened the module meanwhile. */
        if (!push_known_module(L)) {
            start(L, stopper, stopper + 1, is_running);
            return 1;
        }
    }
    set_global(L);
    return 1;
}
