--- What is measured, on whom, and what is aimed at.
--
-- A figure: `name`; `title` and `unit` for the report; `work`, what the sides call it, if not by
-- its name; `arguments` that they get besides; `less`, true where less is better; `at`, which of
-- the TLS server's ports (tls_server.c); `placement`, "shared" for client and server on one CPU;
-- `sides`, who has this figure, if not the whole group; `files`, how many a process has to be
-- allowed to open for it; `targets`.
--
-- A target: `beside` a side (a ratio of it), another `figure` (a ratio of what socketcore has
-- there; `label` says what that is), or neither (the value itself); `at_least` and `moonshot`.
--
-- SPDX-License-Identifier: MIT

local figures = {}

--- The side that the others stand beside.
figures.OURS = "socketcore"

-- A side of the name for each word.
local function set(words)
    local result = {}
    for word in words:gmatch("%S+") do
        result[word] = true
    end
    return result
end

-- Two targets: beside a peer, and beside the bare lwIP client.
local function plain_targets(beside, at_least, moonshot)
    return {
        { beside = beside, at_least = at_least, moonshot = moonshot },
        { beside = "lwIP", at_least = 0.85, moonshot = 0.95 },
    }
end

local function full_targets()
    return {
        { beside = "mbedTLS", at_least = 0.95, moonshot = 1.0 },
        { beside = "LuaSec", at_least = 0.6, moonshot = 1.0 },
    }
end

local function luasec_target(at_least, moonshot)
    return { { beside = "LuaSec", at_least = at_least, moonshot = moonshot } }
end

local PLAIN = {
    { name = "send", unit = "MB/s", title = "send 11200 bytes, each waits for SEND_CNF",
        targets = plain_targets("LuaSocket", 1.0, 1.3) },
    { name = "send8", unit = "MB/s", title = "send 11200 bytes, 8 under way",
        targets = plain_targets("LuaSocket", 1.3, 2) },
    { name = "receive", unit = "MB/s", title = "receive in pieces of 2048 bytes",
        targets = plain_targets("LuaSocket", 2, 4) },
    { name = "round_trip", unit = "1/s", title = "round trips of 64 bytes",
        targets = plain_targets("LuaSocket", 1.0, 1.3) },
    { name = "round_trip_1", work = "round_trip", unit = "1/s",
        title = "round trips of 64 bytes, all on one CPU", placement = "shared" },
    { name = "connect", unit = "1/s", title = "connect and close",
        targets = plain_targets("LuaSocket", 0.8, 1.2) },
    { name = "datagram", unit = "1/s", title = "UDP echoes of 512 bytes",
        targets = plain_targets("LuaSocket", 0.8, 1.2) },
    { name = "datagram_1", work = "datagram", unit = "1/s",
        title = "UDP echoes of 512 bytes, all on one CPU", placement = "shared" },
    { name = "idle", unit = "KB", title = "memory per idle connection at 1,000", less = true,
        files = 1100,
        targets = { { beside = "LuaSocket", at_least = 1.6, moonshot = 1.0 } } },
    { name = "event_10", work = "event", arguments = "sockets=10", unit = "us", less = true,
        title = "CPU time of a round trip on one of 10, 10 sockets open",
        sides = set("socketcore luv lwIP kernel") },
    { name = "event_4000", work = "event", arguments = "sockets=4000", unit = "us", less = true,
        title = "CPU time of a round trip on one of 10, 4,000 sockets open",
        sides = set("socketcore luv lwIP kernel"), files = 4100,
        targets = {
            { figure = "event_10", label = "10 sockets", at_least = 1.1, moonshot = 1.0 },
        } },
    { name = "start", unit = "ms", less = true,
        title = "./dev run of a script to its first CONN_CNF", sides = set("socketcore LuaSocket"),
        targets = { { at_least = 20, moonshot = 5 } } },
    { name = "start_lua", unit = "ms", less = true,
        title = "lua5.1 with the modules to the first CONN_CNF",
        sides = set("socketcore LuaSocket luv") },
}

local TLS = {
    { name = "tls_full_ecdsa", work = "tls_full", at = "ecdsa", unit = "1/s",
        title = "TLS 1.3: full handshakes, ECDSA P-256", targets = full_targets() },
    { name = "tls_full_rsa", work = "tls_full", at = "rsa", unit = "1/s",
        title = "TLS 1.3: full handshakes, RSA-2048", targets = full_targets() },
    { name = "tls_resume_ecdsa", work = "tls_resume", at = "ecdsa", unit = "1/s",
        title = "TLS 1.3, ECDSA: reconnects, 1 byte", targets = luasec_target(4, 8) },
    { name = "tls_resume_rsa", work = "tls_resume", at = "rsa", unit = "1/s",
        title = "TLS 1.3, RSA: reconnects, 1 byte", targets = luasec_target(4, 8) },
    { name = "tls_resume_ecdsa12", work = "tls_resume", at = "ecdsa12", unit = "1/s",
        title = "TLS 1.2, ECDSA: reconnects, 1 byte", targets = luasec_target(4, 8) },
    { name = "tls_resume_rsa12", work = "tls_resume", at = "rsa12", unit = "1/s",
        title = "TLS 1.2, RSA: reconnects, 1 byte", targets = luasec_target(4, 8) },
    { name = "tls_send", at = "ecdsa", unit = "MB/s",
        title = "TLS, AES-GCM: send 11200 bytes, one by one", targets = luasec_target(1, 2) },
    { name = "tls_send8", at = "ecdsa", unit = "MB/s",
        title = "TLS, AES-GCM: send 11200 bytes, 8 under way", targets = luasec_target(1, 2) },
    { name = "tls_receive", at = "ecdsa", unit = "MB/s",
        title = "TLS, AES-GCM: receive in pieces of 2048", targets = luasec_target(1, 2) },
    { name = "tls_send8_chacha", work = "tls_send8", at = "chacha", unit = "MB/s",
        title = "TLS, ChaCha20: send 11200 bytes, 8 under way" },
    { name = "tls_receive_chacha", work = "tls_receive", at = "chacha", unit = "MB/s",
        title = "TLS, ChaCha20: receive in pieces of 2048" },
}

--- Figures in groups that share their sides and their server. A side's name is what sides.lua calls
-- it; the first is ours.
figures.GROUPS = {
    {
        name = "plain", figures = PLAIN,
        sides = { "socketcore", "LuaSocket", "luv", "lwIP", "kernel" },
    },
    { name = "tls", figures = TLS, sides = { "socketcore", "LuaSec", "mbedTLS" } },
}

--- The sides that are limits rather than peers, and what their columns are called.
figures.LIMITS = { "lwIP", "mbedTLS", "kernel" }
figures.HEADINGS = { lwIP = "lwIP in C", kernel = "kernel in C", mbedTLS = "mbedTLS in C" }

--- What --growth measures: a figure, the side beside us that has it, where it ends, its title
-- there.
figures.SOCKETS = { 1, 10, 100, 1000 }
figures.GROWTH_FILES = 1100
figures.BY_SOCKETS = {
    { "send", "luv" }, { "send8", "luv" }, { "receive", "luv" }, { "round_trip", "luv" },
    { "connect", "luv" },
    -- 1,000 at once are more than the server's receive buffer takes.
    { "datagram", "luv", largest = 100 },
    { "tls_full_ecdsa" }, { "tls_resume_ecdsa" },
    { "tls_send8" }, { "tls_receive" },
}
figures.SIZES = { 64, 1024, 11200, 65536, 1048576 }
figures.BY_SIZE = {
    { "send", "LuaSocket", title = "send, each waits for SEND_CNF" },
    { "send8", "LuaSocket", title = "send, 8 under way" },
    { "receive", "LuaSocket", title = "receive in pieces of that size" },
    { "round_trip", "LuaSocket", title = "round trips" },
    { "datagram", "LuaSocket", largest = 11200, title = "UDP echoes" },
    { "tls_send8", "LuaSec", title = "TLS, AES-GCM: send, 8 under way" },
    { "tls_receive", "LuaSec", title = "TLS, AES-GCM: receive in pieces of that size" },
}

--- By each name that --only takes: the list of figures that it stands for.
function figures.by_name()
    local names = {}
    for _, group in ipairs(figures.GROUPS) do
        names[group.name] = group.figures
        for _, figure in ipairs(group.figures) do
            names[figure.name] = { figure }
        end
    end
    return names
end

--- The sides of a group that have this figure, in the group's order.
function figures.sides_of(group, figure)
    local names = {}
    for _, name in ipairs(group.sides) do
        if not figure.sides or figure.sides[name] then
            names[#names + 1] = name
        end
    end
    return names
end

return figures
