-- `rtos` and `socketcore` in pure Lua, for specs of lua/ that need neither network nor time.
-- Time is virtual: rtos.receive jumps to the next thing that happens, so a spec of a two-minute
-- time-out takes no time. A receive that could never return is an error, not a hang.
--
-- The fake keeps the rules of the contract on messages and ids, and an error says so when a module
-- breaks one. What a server does is up to the spec: see `core.servers`.
--
-- SPDX-License-Identifier: MIT

local fake = {}

local TICKS_PER_MS = 16384 / 1000
local unpack = rawget(_G, "unpack") or rawget(table, "unpack")
local MODULES = { "sys", "socket", "log", "link" }

local function new_rtos(core)
    local rtos = {
        INF_TIMEOUT = -1, WAIT_MSG_TIMEOUT = 1, MSG_TIMER = 2, MSG_UART_RXDATA = 3,
        MSG_PDP_DEACT_IND = 4, MSG_PDP_ACT_CNF = 5,
        MSG_SOCK_CONN_CNF = 40, MSG_SOCK_SEND_CNF = 41, MSG_SOCK_RECV_IND = 42,
        MSG_SOCK_CLOSE_IND = 43, MSG_SOCK_CLOSE_CNF = 44,
    }

    function rtos.tick()
        return math.floor(core.now * TICKS_PER_MS) + core.offset
    end

    function rtos.timer_start(id, ms)
        assert(id % 1 == 0 and id >= 0 and id <= 0x7FFFFFFF, "timer id")
        assert(ms % 1 == 0 and ms >= 1 and ms <= 126322567, "timer time")
        rtos.timer_stop(id)
        core.timers[id] = core.now + ms
        core.started = core.started + 1
        return 1
    end

    function rtos.timer_stop(id)
        core.timers[id] = nil
        for i = #core.queue, 1, -1 do
            if core.queue[i][1] == rtos.MSG_TIMER and core.queue[i][2] == id then
                table.remove(core.queue, i)
            end
        end
        return 1
    end

    local function next_event()
        local first
        for id, due in pairs(core.timers) do
            if not first or due < first.due or due == first.due and first.id and id < first.id then
                first = { due = due, id = id }
            end
        end
        for i, event in ipairs(core.events) do
            if not first or event.due < first.due then
                first = { due = event.due, event = i }
            end
        end
        return first
    end

    local function pass_time(timeout)
        local first = next_event()
        if not first or timeout >= 0 and first.due > core.now + timeout then
            if timeout < 0 then
                error("rtos.receive would wait for ever", 0)
            end
            core.now = core.now + timeout
            return false
        end
        core.now = math.max(core.now, first.due)
        if first.event then
            table.remove(core.events, first.event).fn()
        else
            core.timers[first.id] = nil
            core:post(rtos.MSG_TIMER, first.id)
        end
        return true
    end

    function rtos.receive(timeout)
        while #core.queue == 0 do
            if not pass_time(timeout) then
                return rtos.WAIT_MSG_TIMEOUT
            end
        end
        local message = table.remove(core.queue, 1)
        if type(message[1]) == "table" then
            core:delivered(message[1])
        end
        return unpack(message, 1, message.n)
    end

    function rtos.idle()
        return #core.queue == 0 and #core.events == 0 and next(core.timers) == nil
            and next(core.sockets) == nil
    end

    function rtos.restart()
        core.restarts = core.restarts + 1
    end

    return rtos
end

local function new_socketcore(core)
    local socketcore = { ERR_OK = 0, ERR_ENOBUFS = 2, ERR_ENOTCONN = 11 }

    function socketcore.sock_conn(kind, address, port, cert, buffer, insist, local_port, flag)
        core.calls[#core.calls + 1] = {
            kind = kind, address = address, port = port, cert = cert, buffer = buffer,
            insist = insist, local_port = local_port, flag = flag,
        }
        local server = core.servers[address] or {}
        if server.refuse_call then
            return nil, 1, server.refuse_call
        end
        local id = 0
        while core.sockets[id] do
            id = id + 1
        end
        local s = { id = id, kind = kind, server = server, state = "connecting",
            inbox = {}, sent = {}, pieces = {}, unconfirmed = 0 }
        core.sockets[id] = s
        if server.connect ~= "never" then
            core:at(server.delay or 1, function()
                if s.state ~= "connecting" then
                    return
                elseif server.connect == "fail" then
                    s.state = "failed"
                    core:message(s, "CONN_CNF", { result = 1, error = 14,
                        reason = "connect: refused" })
                else
                    s.state = "connected"
                    core:message(s, "CONN_CNF")
                    if server.on_connect then
                        server.on_connect(s)
                    end
                end
            end)
        end
        return id
    end

    function socketcore.sock_send(id, data)
        assert(type(data) == "string", "sock_send: string expected")
        local s = core.sockets[id]
        if not s or s.state ~= "connected" then
            return 0, socketcore.ERR_ENOTCONN
        end
        s.pieces[#s.pieces + 1] = #data
        if s.server.confirm == "refuse" then
            core:message(s, "SEND_CNF", { result = 1, error = 2, reason = "no room" })
            return 0, socketcore.ERR_ENOBUFS
        end
        s.sent[#s.sent + 1] = data
        if s.server.confirm ~= "never" then
            local failed = s.server.confirm == "fail"
            s.unconfirmed = s.unconfirmed + 1
            core:at(s.server.confirm_delay or 1, function()
                s.unconfirmed = s.unconfirmed - 1
                if s.state == "connected" or s.state == "closing" then
                    core:message(s, "SEND_CNF", { result = failed and 1 or 0,
                        send_len = #data })
                end
            end)
        end
        if s.server.on_data then
            core:at(1, function() s.server.on_data(s, data) end)
        end
        return 1, 0
    end

    function socketcore.sock_recv(id, length)
        local s = core.sockets[id]
        if not s then
            return ""
        end
        local data = table.remove(s.inbox, 1) or ""
        if s.kind == 1 then
            data = data:sub(1, length)
        elseif #data > length then
            table.insert(s.inbox, 1, data:sub(length + 1))
            data = data:sub(1, length)
        end
        s.announced = false
        core:announce(s)
        return data
    end

    function socketcore.sock_close(id)
        local s = core.sockets[id]
        if s then
            s.state = "closing"
            core:drop_messages(id)
            core:at(s.server.close_delay or 1, function()
                core:message(s, "CLOSE_CNF")
            end)
        else
            core:at(1, function()
                core:post({ id = core.rtos.MSG_SOCK_CLOSE_CNF, socket_index = id, result = 0 })
            end)
        end
        core.closes = core.closes + 1
        return 1
    end

    function socketcore.sock_destroy(id)
        local s = core.sockets[id]
        if not s or not s.may_be_destroyed then
            core.bad_destroys = core.bad_destroys + 1
            return 0
        end
        core.sockets[id] = nil
        core:drop_messages(id)
        return 1
    end

    function socketcore.config(options)
        for name, value in pairs(options or {}) do
            core.config[name] = value
        end
        return core.config
    end

    return socketcore
end

local methods = {}
methods.__index = methods

-- Puts a message, as rtos.receive will return it, at the end of the queue.
function methods:post(...)
    self.queue[#self.queue + 1] = { n = select("#", ...), ... }
end

-- Calls fn when that many virtual milliseconds have passed.
function methods:at(ms, fn)
    self.events[#self.events + 1] = { due = self.now + ms, fn = fn }
end

function methods:message(s, name, fields)
    local message = fields or {}
    message.id = self.rtos["MSG_SOCK_" .. name]
    message.socket_index = s.id
    message.result = message.result or 0
    self:post(message)
end

function methods:drop_messages(id)
    for i = #self.queue, 1, -1 do
        local message = self.queue[i][1]
        if type(message) == "table" and message.socket_index == id then
            table.remove(self.queue, i)
        end
    end
end

function methods:delivered(message)
    local s = self.sockets[message.socket_index]
    if s and (message.id == self.rtos.MSG_SOCK_CLOSE_CNF
        or message.id == self.rtos.MSG_SOCK_CONN_CNF and message.result == 1) then
        s.may_be_destroyed = true
    end
end

-- Announces what the inbox holds, or the end of the stream, unless something is announced already.
function methods:announce(s)
    if s.announced or s.state ~= "connected" then
        return
    elseif s.inbox[1] then
        s.announced = true
        local length = #s.inbox[1]
        if s.kind ~= 1 then
            length = math.min(length, 2048)
        end
        self:message(s, "RECV_IND", { recv_len = length })
    elseif s.peer_closed then
        s.state = "lost"
        self:message(s, "CLOSE_IND", { error = 15, reason = "closed by the peer" })
    end
end

-- The server sends: one datagram, or bytes of the stream.
function methods:arrive(s, data)
    s.inbox[#s.inbox + 1] = data
    self:announce(s)
end

-- The server closes; CLOSE_IND comes once everything was read.
function methods:peer_close(s)
    s.peer_closed = true
    self:announce(s)
end

function methods:open_sockets()
    local n = 0
    for _ in pairs(self.sockets) do
        n = n + 1
    end
    return n
end

-- Runs fn as a task, and sys.run to its end.
function methods.run(_, fn)
    _G.sys.taskInit(fn)
    _G.sys.run()
end

-- Is there a log line that contains the text?
function methods:logged(text)
    for _, line in ipairs(self.lines) do
        if line:find(text, 1, true) then
            return true
        end
    end
    return false
end

-- Everything as it was before `install`.
function methods:remove()
    for name, value in pairs(self.before) do
        _G[name] = value[1]
        package.loaded[name] = value[2]
    end
    coroutine.resume = self.resume_before -- luacheck: ignore 122
    print = self.print_before -- luacheck: ignore 111 121
end

--- Puts a fresh fake in place of the globals and loads fresh copies of the modules in lua/.
-- What they print goes to `core.lines` (LOG_LEVEL is TRACE).
--
-- `core.servers[address]` says how the server at an address behaves: `connect` = "ok" (default),
-- "fail" or "never"; `delay` of it in ms; `confirm` of sends = "ok", "fail", "never" or "refuse";
-- `confirm_delay`, `close_delay` in ms; `on_connect(s)`, `on_data(s, data)`; `refuse_call` =
-- reason: sock_conn itself fails.
--
-- Errors of tasks go to the log only, as where a runner runs the script. `options.runner` = false:
-- as without one.
function fake.install(options)
    local core = setmetatable({
        now = 0, offset = 0, queue = {}, timers = {}, events = {}, started = 0, restarts = 0,
        sockets = {}, servers = {}, calls = {}, closes = 0, bad_destroys = 0, config = {},
        lines = {}, before = {}, resume_before = coroutine.resume, print_before = print,
    }, methods)
    for _, name in ipairs({ "sys", "socket", "log", "link", "rtos", "socketcore", "LOG_LEVEL",
        "PROJECT", "VERSION" }) do
        core.before[name] = { rawget(_G, name), package.loaded[name] }
        _G[name] = nil
        package.loaded[name] = nil
    end
    core.rtos, core.socketcore = new_rtos(core), nil
    if not options or options.runner ~= false then
        core.rtos.runner = { failures = 0, ended = function(text) core.ended = text end }
    end
    core.socketcore = new_socketcore(core)
    _G.rtos, _G.socketcore = core.rtos, core.socketcore
    _G.LOG_LEVEL = 1
    print = function(...) -- luacheck: ignore 111 121
        local parts = {}
        for i = 1, select("#", ...) do
            parts[i] = tostring((select(i, ...)))
        end
        core.lines[#core.lines + 1] = table.concat(parts, "\t")
    end
    for _, name in ipairs(MODULES) do
        require(name)
    end
    return core
end

return fake
