--- TCP, TLS and UDP clients for tasks.
-- A client belongs to the task that connected it: its methods wait, and while they do every other
-- task runs on. `socketcore` does the network's work and reports by messages; this file turns them
-- into the return values of methods and into published topics.
--
-- Published topics, with their values:
--
-- - `SOCKET_ACTIVE` (boolean: any client connected) at each connect and disconnect
-- - `SOCKET_RECV` (id): data arrived that no `recv` was waiting for
-- - `SOCKET_ASYNC_SEND` (id): `asyncSend` queued something
-- - `SOCKET_SEND` (id, boolean): once for each `asyncSend`, sent or not
-- - `LIB_SOCKET_CONNECT_FAIL_IND`, `LIB_SOCKET_SEND_FAIL_IND`, `LIB_SOCKET_CLOSE_IND`
--   (boolean: TLS, "TCP" | "TCPSSL" | "UDP", address, port)
--
-- Subscribed: `IP_ERROR_IND` ends the waits of every client.
--
-- SPDX-License-Identifier: MIT
-- @module socket

local rtos = rawget(_G, "rtos") or require "rtos"
local socketcore = rawget(_G, "socketcore") or require "socketcore"
local sys = require "sys"
local log = require "log"
local link = require "link"

local socket = {}

local sock_recv, sock_send = socketcore.sock_recv, socketcore.sock_send
local running, yield, resume = coroutine.running, coroutine.yield, coroutine.resume
local tick = rtos.tick

local TCP, UDP, SSL = 0, 1, 2
local TICKS_PER_MS = 16384 / 1000
local DEFAULT_TIMEOUT = 120 -- s
local STREAM_PIECE = 11200 -- bytes in one sock_send
local DATAGRAM_PIECE = 1472
local INBOX_MAX = 65536 -- bytes; a client that does not read holds its peer back from there on
local CHUNK_COST = 64 -- what a chunk of data counts for besides its bytes

-- By socket id: the client that has the socket.
local clients = {}
local connected_count = 0

--- What `tcp` and `udp` return. Fields to read: `id` (nil without a socket), `connected`, `error`
-- ("CLOSED", "IP_ERROR_IND" or nil), `protocol`, `address`, `port`.
-- @type client
local client = {}
client.__index = client

-- Arguments. What is wrong is told here, in the script's own line, before socketcore could say it
-- in one of this file.

local function shown(value)
    if type(value) == "string" then
        return ("%q"):format(#value > 40 and value:sub(1, 40) .. "..." or value)
    end
    return tostring(value)
end

local function bad_argument(n, method, expected, value, level)
    error(("bad argument #%d to '%s' (%s expected, got %s)"):format(n, method, expected,
        shown(value)), level or 4)
end

-- A time in seconds or milliseconds.
local function check_time(value, n, method, unit)
    local number = tonumber(value)
    if not number or number ~= number then
        bad_argument(n, method, unit, value)
    end
    return number
end

local function check_data(data, method)
    if type(data) == "number" then
        return tostring(data)
    elseif data ~= nil and type(data) ~= "string" then
        bad_argument(1, method, "string", data)
    end
    return data or ""
end

local function check_peer(address, port)
    if type(address) ~= "string" or address:find("\0", 1, true) then
        bad_argument(1, "connect", "name or IP address as a string", address)
    end
    local number = tonumber(port)
    if not number or number < 0 or number > 65535 or number % 1 ~= 0
        or type(port) == "string" and port:find("%D") then
        bad_argument(2, "connect", "port from 0 to 65535", port)
    end
end

-- What may stand in `cert` and `coreExt`: a type, or a function that says whether a value is right.
local function is_flag(value)
    value = tonumber(value)
    return value == 0 or value == 1
end

local function is_size(value)
    value = tonumber(value)
    return value and value >= 0 and value < 2 ^ 31 and value % 1 == 0
end

local function is_list_of_names(value)
    for i = 1, type(value) == "table" and #value or 0 do
        if type(value[i]) ~= "string" then
            return false
        end
    end
    return type(value) == "table" and #value <= 8
end

local CERT_KEYS = {
    caCert = "string", clientCert = "string", clientKey = "string", clientPassword = "string",
    hostName = "string", psk = "string", pskIdentity = "string", pin = "string",
    resume = "boolean", insist = is_flag, hostNameFlag = is_flag, alpn = is_list_of_names,
}
local CORE_KEYS = { rcvBufferSize = is_size }
local EXPECTED = { [is_flag] = "0 or 1", [is_size] = "bytes", [is_list_of_names] = "names" }

-- How many letters differ (Levenshtein).
local function distance(a, b)
    local row = {}
    for j = 0, #b do
        row[j] = j
    end
    for i = 1, #a do
        local diagonal = row[0]
        row[0] = i
        for j = 1, #b do
            local changed = diagonal + (a:byte(i) == b:byte(j) and 0 or 1)
            diagonal = row[j]
            row[j] = math.min(changed, row[j] + 1, row[j - 1] + 1)
        end
    end
    return row[#b]
end

-- The key that is meant by one that differs in case or by a letter or two; by one if it is short.
local function meant_key(key, keys)
    if type(key) == "string" and #key < 20 then
        for right in pairs(keys) do
            if distance(key:lower(), right:lower()) <= (#key > 4 and 2 or 1) then
                return right
            end
        end
    end
end

local warned_keys = {}

local function check_table(value, n, name, keys)
    if value == nil then
        return
    elseif type(value) ~= "table" then
        bad_argument(n, "tcp", "table", value)
    end
    for key, field in pairs(value) do
        local kind = keys[key]
        if kind and type(field) ~= kind and (type(kind) == "string" or not kind(field)) then
            error(("bad argument #%d to 'tcp' (%s.%s: %s expected, got %s)"):format(n, name, key,
                EXPECTED[kind] or kind, shown(field)), 3)
        elseif not kind then
            local right = meant_key(key, keys)
            if right then
                error(("bad argument #%d to 'tcp' (%s.%s: no such key, %s.%s is meant?)"):format(n,
                    name, key, name, right), 3)
            elseif not warned_keys[key] then
                warned_keys[key] = true
                log.warn("socket.tcp", name .. "." .. tostring(key) .. ": unknown, has no effect")
            end
        end
    end
end

-- Waiting.

-- Ends the client's wait: it returns `outcome` and the values.
local function wake(self, outcome, value)
    self.awaits = nil
    self.outcome, self.value, self.second = outcome, value, nil
    resume(self.co)
end

-- Time-outs. Nearly all waits end long before theirs, so a timer is left running for the waits that
-- follow: one is started only when there is none or it would come too late. A wait's `limit` and
-- `timer_at`, when the timer comes, are in ticks.

local time_out

local function start_timer(self, ms, limit)
    self.timer = sys.timerStart(time_out, ms, self)
    self.timer_at = limit
end

local function stop_timer(self)
    if self.timer then
        sys.timerStop(self.timer)
        self.timer = nil
    end
end

local function set_limit(self, ms)
    local limit = tick() + ms * TICKS_PER_MS
    self.limit, self.limit_ms = limit, ms
    if not self.timer or self.timer_at > limit then
        start_timer(self, ms, limit)
    end
end

function time_out(self)
    self.timer = nil
    local limit = self.limit
    if not limit then
        return -- nothing waits
    end
    local left = (limit - tick()) / TICKS_PER_MS
    if self.timer_at == limit or left <= 0 then
        wake(self, "timeout")
    elseif left <= self.limit_ms then
        start_timer(self, math.ceil(left), limit)
    else -- the tick counter has wrapped
        set_limit(self, self.limit_ms)
    end
end

-- Suspends the task until `wake`. Should somebody else resume it, that has no effect, except on a
-- wait that scripts are used to end so: then "resumed" and what they passed is returned.
local function await(self, what, ms)
    self.awaits = what
    if ms then
        set_limit(self, ms)
    end
    repeat
        local first, second = yield()
        if self.awaits and first ~= nil and (what == "recv" or what == "queue") then
            self.awaits = nil
            self.outcome, self.value, self.second = "resumed", first, second
        end
    until not self.awaits
    self.limit = nil
    return self.outcome, self.value, self.second
end

local function timeout_ms(seconds)
    return (seconds or DEFAULT_TIMEOUT) * 1000
end

-- A task that has ended leaves its client to whoever wants to close it.
local function owned(self, method)
    local co, is_main = running()
    if co == self.co then
        return true
    end
    if co and not is_main and coroutine.status(self.co) == "dead" then
        self.co = co
        return true
    end
    log.error("socket." .. method, "not called from the client's own task",
        debug.traceback("", 3))
    return false
end

-- State.

local function set_connected(self, connected)
    if self.connected == connected then
        return
    end
    self.connected = connected
    connected_count = connected_count + (connected and 1 or -1)
    sys.publish("SOCKET_ACTIVE", connected_count > 0)
end

local function publish_failure(self, topic)
    sys.publish(topic, self.ssl, self.protocol, self.address, self.port)
end

-- Nothing can be sent or received any more, for the reason in `why`.
local function break_off(self, why)
    self.error = self.error or why
    if self.awaits and self.awaits ~= "close" then
        wake(self, "error")
    end
end

local function clear_inbox(self)
    self.inbox, self.first, self.last, self.inbox_bytes = {}, 1, 0, 0
    self.held = nil
end

-- Gives the id back. Only after CLOSE_CNF or a failed CONN_CNF.
local function release(self)
    local id = self.id
    if socketcore.sock_destroy(id) ~= 1 then
        log.error("socket", id, "cannot be destroyed")
    end
    clients[id] = nil
    self.id = nil
    stop_timer(self)
    set_connected(self, false)
    clear_inbox(self)
end

-- CLOSE_CNF comes for each sock_close that returned 1, whatever became of the connection.
local function close_socket(self)
    if socketcore.sock_close(self.id) == 1 then
        await(self, "close")
    end
    release(self)
end

-- Received data.

local function store(self, data)
    self.last = self.last + 1
    self.inbox[self.last] = data
    self.inbox_bytes = self.inbox_bytes + #data + CHUNK_COST
end

-- Takes the data that was announced while the inbox was full.
local function fetch_held(self)
    if self.held then
        local length = self.held
        self.held = nil
        store(self, sock_recv(self.id, length))
    end
end

local function take_datagram(self)
    local data = self.inbox[self.first]
    self.inbox[self.first] = nil
    self.first = self.first + 1
    self.inbox_bytes = self.inbox_bytes - #data - CHUNK_COST
    fetch_held(self)
    return data
end

local function take_stream(self)
    fetch_held(self)
    local data = self.inbox[self.first]
    if self.last > self.first then
        data = table.concat(self.inbox, "", self.first, self.last)
    end
    clear_inbox(self)
    return data
end

-- One datagram, or all that came of a stream; nil when there is nothing.
local function take(self)
    if self.first > self.last then
        return nil
    end
    return self.type == UDP and take_datagram(self) or take_stream(self)
end

-- Topics that end a recv.

-- A topic is subscribed from the first recv that names it to close(); what is published while no
-- recv waits for it is kept for the next one.
local function follow_topic(self, topic)
    local box = { first = 1, last = 0 }
    function box.receive(param)
        if param == nil then
            param = "" -- what scripts get on the device
        end
        box.last = box.last + 1
        box[box.last] = param
        if self.awaits == "recv" and self.awaited_box == box then
            wake(self, "topic")
        end
    end
    self.topics[topic] = box
    sys.subscribe(topic, box.receive)
    return box
end

local function take_param(box)
    local param = box[box.first]
    box[box.first] = nil
    box.first = box.first + 1
    return param
end

local function forget_topics(self)
    for topic, box in pairs(self.topics) do
        sys.unsubscribe(topic, box.receive)
    end
    self.topics = {}
end

-- Certificates.

-- Where a certificate file may be. On a device files lie in /lua/; on the host beside the script.
local function places_of(name)
    local script = type(rawget(_G, "arg")) == "table" and rawget(_G, "arg")[0]
    local directory = script and (script:match("^(.*)/[^/]*$") or ".")
    local below_lua = name:match("^/lua/(.+)$")
    if name:sub(1, 1) == "/" and not below_lua then
        return { name }
    end
    local relative = below_lua or name
    local places = { "/lua/" .. relative }
    if directory then
        places[2], places[3] = directory .. "/" .. relative, directory .. "/lua/" .. relative
    end
    return places
end

local function read_certificate_file(name)
    local problems = {}
    for _, place in ipairs(places_of(name)) do
        local file, problem = io.open(place, "rb")
        if file then
            local content, read_problem = file:read("*a")
            file:close()
            if content then
                return content, place
            end
            problem = place .. ": " .. tostring(read_problem)
        end
        problems[#problems + 1] = problem
    end
    return nil, "no certificate file " .. name .. " (" .. table.concat(problems, "; ") .. ")"
end

local FILES = { "caCert", "clientCert", "clientKey" }
local NO_FILES = { "clientPassword", "psk", "pskIdentity", "pin", "alpn", "resume" }

-- The table for sock_conn and the files by part, or nil and a message. A file that is missing is
-- never left out: the server would go unverified.
local function load_certificates(self)
    local names = self.cert or {}
    local cert, files = { hostName = names.hostName or self.address }, {}
    for _, part in ipairs(NO_FILES) do
        cert[part] = names[part]
    end
    for _, part in ipairs(FILES) do
        if part == "caCert" and names[part] == "system" then
            cert[part] = names[part]
        elseif names[part] then
            local content, place = read_certificate_file(names[part])
            if not content then
                return nil, place
            end
            cert[part], files[part] = content, place
        end
    end
    return cert, files
end

-- `reason` of a connection that failed, with the files that it is about.
local function name_files(reason, files)
    for _, part in ipairs(FILES) do
        if files[part] and reason:find(part, 1, true) then
            reason = ("%s (%s: %s)"):format(reason, part, files[part])
        end
    end
    return reason
end

-- Sending.

-- Sends at most one piece and waits for its confirmation. SEND_CNFs come in the order of the
-- sends, and also for a refused one: counting tells them apart when a wait has run out of time.
local function send_piece(self, piece, limit_ms)
    local accepted, err = sock_send(self.id, piece)
    if accepted ~= 1 then
        if err ~= socketcore.ERR_ENOTCONN then
            self.sends = self.sends + 1
        end
        log.warn("socket.send", self.id, "refused, error", err)
        return false
    end
    self.sends = self.sends + 1
    local outcome = await(self, "send", limit_ms)
    if outcome == "timeout" then
        log.warn("socket.send", self.id, "not confirmed in time")
    end
    return outcome == "sent"
end

local function send_all(self, data, timeout)
    local limit_ms = timeout_ms(timeout)
    local size = self.type == UDP and DATAGRAM_PIECE or STREAM_PIECE
    for from = 1, #data, size do
        local piece = #data <= size and data or data:sub(from, from + size - 1)
        if not send_piece(self, piece, limit_ms) then
            publish_failure(self, "LIB_SOCKET_SEND_FAIL_IND")
            return false
        end
    end
    return true
end

-- The queue of asyncSend: { data, timeout } from `queue_first` to `queue_last`.

-- Sends the oldest entry, for a stream together with the short ones that follow.
local function send_oldest(self)
    local first = self.queue_first
    local last = first
    local data, timeout = self.queue[first].data, self.queue[first].timeout
    if self.type ~= UDP then
        local parts, bytes = { data }, #data
        while last < self.queue_last and bytes + #self.queue[last + 1].data <= STREAM_PIECE do
            last = last + 1
            local entry = self.queue[last]
            parts[#parts + 1] = entry.data
            bytes = bytes + #entry.data
            timeout = math.max(timeout, entry.timeout)
        end
        data = table.concat(parts)
    end
    local sent = send_all(self, data, timeout)
    for i = first, last do
        self.queue[i] = nil
        sys.publish("SOCKET_SEND", self.id, sent)
    end
    self.queue_first = last + 1
    return sent
end

local function drop_queue(self)
    for _ = self.queue_first, self.queue_last do
        sys.publish("SOCKET_SEND", self.id, false)
    end
    self.queue, self.queue_first, self.queue_last = {}, 1, 0
end

-- Methods.

--- Connects. The client belongs to the calling task from here on. A client that still has a
-- socket closes it first.
-- @tparam string address name or IP literal
-- @tparam number|string port
-- @tparam[opt=120] number timeout time-out in seconds
-- @treturn boolean true, followed by the socket's id; or false: no link, no certificate file, no
-- free socket, not connected in time, or refused. The log says which; the socket is gone then
-- @raise an error when an argument is of the wrong type or out of range
function client:connect(address, port, timeout)
    check_peer(address, port)
    timeout = timeout and check_time(timeout, 3, "connect", "seconds")
    if self.id then
        if not owned(self, "connect") then
            return false
        end
        log.warn("socket.connect", self.id, "closed, to connect anew")
        self:close()
    end
    local co, is_main = running()
    if not co or is_main then
        log.error("socket.connect", "must be called inside a task")
        return false
    end
    if not link.isReady() then
        log.warn("socket.connect", address, port, "the link is not ready")
        return false
    end
    self.co, self.address, self.port = co, address, port
    self.error = nil
    self.sends, self.confirmed = 0, 0

    local cert, files, insist, host_name_flag, err, reason
    if self.type == SSL then
        cert, files = load_certificates(self)
        reason = files
        insist = self.cert and self.cert.insist
        host_name_flag = self.cert and self.cert.hostNameFlag
    end
    if cert or self.type ~= SSL then
        self.id, err, reason = socketcore.sock_conn(self.type, address, port, cert,
            self.receive_buffer, insist, nil, host_name_flag)
    end
    if not self.id then
        if cert then
            reason = name_files(reason, files)
        end
        log.warn("socket.connect", self.protocol, address, port, reason, err)
        publish_failure(self, "LIB_SOCKET_CONNECT_FAIL_IND")
        return false
    end

    clients[self.id] = self
    local outcome, failure = await(self, "connect", timeout_ms(timeout))
    if outcome == "connected" then
        log.debug("socket.connect", self.id, self.protocol, address, port)
        set_connected(self, true)
        return true, self.id
    end
    log.warn("socket.connect", self.id, self.protocol, address, port,
        failure or self.error or "not connected in time")
    if outcome == "failed" then
        release(self)
    else
        close_socket(self)
    end
    publish_failure(self, "LIB_SOCKET_CONNECT_FAIL_IND")
    return false
end

--- Sends, and waits until the peer's TCP has acknowledged everything (UDP: until the link took
-- it). Longer data goes in pieces of 11200 bytes, on UDP in datagrams of 1472.
-- @tparam string data what to send; nothing is sent for "" and nil
-- @tparam[opt=120] number timeout time-out of each piece in seconds
-- @treturn boolean
-- @raise an error when `data` is not a string or `timeout` not a number
function client:send(data, timeout)
    data = check_data(data, "send")
    timeout = timeout and check_time(timeout, 2, "send", "seconds")
    if not owned(self, "send") then
        return false
    end
    if not self.id or self.error then
        log.warn("socket.send", self.id, self.error or "not connected")
        return false
    end
    return send_all(self, data, timeout)
end

--- Waits for data. What is buffered comes first: on TCP all of it, on UDP one datagram.
--
-- `topic` is subscribed from the first call that names it until `close`. What is published
-- meanwhile ends a waiting call, or is returned by the next one: each message once, in order.
-- @tparam[opt] number timeout time-out in milliseconds; absent or 0: no limit
-- @param[opt] topic a topic that ends the wait
-- @tparam[opt] boolean noResume true: the topic is kept for a later call and does not end this one
-- @treturn boolean true, followed by the data; or false, followed by `"timeout"`, by `"CLOSED"`,
-- by `"IP_ERROR_IND"`, or by the topic and its first value (`""` when it has none)
-- @raise an error when `timeout` is not a number
function client:recv(timeout, topic, noResume)
    timeout = timeout and check_time(timeout, 1, "recv", "milliseconds")
    if topic ~= topic then
        bad_argument(2, "recv", "topic", topic, 3)
    end
    if not owned(self, "recv") then
        return false, "not the client's own task"
    end
    if not self.id then
        return false, "CLOSED"
    end
    local box = topic ~= nil and (self.topics[topic] or follow_topic(self, topic)) or nil
    if noResume then
        box = nil
    end
    if box and box.first <= box.last and not self.error then
        return false, topic, take_param(box)
    end
    local data = take(self)
    if data then
        return true, data
    elseif self.error then
        return false, self.error
    end

    self.awaited_box = box
    local outcome, value, second = await(self, "recv", timeout and timeout > 0 and timeout or nil)
    if outcome == "data" then
        return true, value
    elseif outcome == "topic" then
        return false, topic, take_param(box)
    elseif outcome == "timeout" then
        return false, "timeout"
    elseif outcome == "error" then
        return false, self.error
    end
    return value, second -- resumed by the script
end

--- Queues data for `asyncSelect`, which another task or this one calls. May be called from
-- anywhere, also before `connect`. Publishes `SOCKET_ASYNC_SEND` now and `SOCKET_SEND` when the
-- data was sent or given up.
-- @tparam string data what to send
-- @tparam[opt=120] number timeout time-out in seconds
-- @treturn boolean false when the connection is gone
-- @raise an error when `data` is not a string or `timeout` not a number
function client:asyncSend(data, timeout)
    data = check_data(data, "asyncSend")
    timeout = timeout and check_time(timeout, 2, "asyncSend", "seconds")
    if self.error then
        log.warn("socket.asyncSend", self.id, self.error)
        return false
    end
    self.queue_last = self.queue_last + 1
    self.queue[self.queue_last] = { data = data, timeout = timeout or DEFAULT_TIMEOUT }
    sys.publish("SOCKET_ASYNC_SEND", self.id)
    return true
end

--- How much of what `asyncSend` queued is still to be sent? May be called from anywhere.
-- @treturn number entries not confirmed yet; 0 when all is sent or the connection is gone
function client:getAsyncSend()
    return self.error and 0 or self.queue_last - self.queue_first + 1
end

--- Sends what `asyncSend` queues, until the connection is gone.
-- @tparam[opt] number keepalive seconds without sending after which a ping is sent; absent or 0:
-- never
-- @tparam[opt="\0"] string|function ping what to send then, or a function to call, which may send
-- or queue something itself
-- @treturn boolean false, when the connection is gone or a send failed
-- @raise an error when `keepalive` is not a number, or `ping` neither a string nor a function
function client:asyncSelect(keepalive, ping)
    keepalive = keepalive and check_time(keepalive, 1, "asyncSelect", "seconds")
    if ping and type(ping) ~= "function" and type(ping) ~= "string" then
        bad_argument(2, "asyncSelect", "string or function", ping, 3)
    end
    if not owned(self, "asyncSelect") then
        return false
    end
    local silence_ms = keepalive and keepalive > 0 and keepalive * 1000 or nil
    while self.id and not self.error do
        if self.queue_first <= self.queue_last then
            if not send_oldest(self) then
                return false
            end
        else
            local outcome, value = await(self, "queue", silence_ms)
            if outcome == "resumed" then
                return value
            elseif outcome == "timeout" and type(ping) == "function" then
                ping()
            elseif outcome == "timeout" then
                self:asyncSend(ping or "\0")
            end
        end
    end
    return false
end

--- Takes received data without waiting. May be called from anywhere; `SOCKET_RECV` tells when.
-- @treturn string all that came on TCP, one datagram on UDP, `""` when there is nothing
function client:asyncRecv()
    return take(self) or ""
end

--- Hands received data to a function instead of buffering it.
-- @tparam function|nil fn called from `sys.run` as `fn(read, id, len)`; `read(id, len)` returns the
-- data. nil: buffer again
function client:setRcvProc(fn)
    if fn ~= nil and type(fn) ~= "function" then
        bad_argument(1, "setRcvProc", "function", fn, 3)
    end
    if not owned(self, "setRcvProc") then
        return
    end
    self.receive_function = fn
    if fn and self.held then
        local length = self.held
        self.held = nil
        fn(sock_recv, self.id, length)
    end
end

--- Closes the connection and frees the socket. What was sent is still delivered; what was queued
-- by `asyncSend` and not sent is dropped. Returns when `CLOSE_CNF` came, at once when there is no
-- socket. The client can connect again.
-- @treturn boolean true; false when called from another task
function client:close()
    if not owned(self, "close") then
        return false
    end
    forget_topics(self)
    drop_queue(self)
    if self.id then
        log.debug("socket.close", self.id)
        close_socket(self)
    end
    self.error = nil
    return true
end

-- Messages.

local function client_of(message)
    local self = clients[message.socket_index]
    if not self then
        log.debug("socket", "message", message.id, "for a socket of others", message.socket_index)
    end
    return self
end

rtos.on(rtos.MSG_SOCK_CONN_CNF, function(message)
    local self = client_of(message)
    if self and self.awaits == "connect" then
        if message.result == 0 then
            wake(self, "connected")
        else
            wake(self, "failed", message.reason or "refused")
        end
    end
end)

rtos.on(rtos.MSG_SOCK_SEND_CNF, function(message)
    local self = client_of(message)
    if not self then
        return
    end
    self.confirmed = self.confirmed + 1
    if message.result ~= 0 then
        log.warn("socket.send", self.id, message.reason or "failed")
    end
    if self.awaits == "send" and self.confirmed >= self.sends then
        wake(self, message.result == 0 and "sent" or "failed")
    end
end)

rtos.on(rtos.MSG_SOCK_RECV_IND, function(message)
    local self = client_of(message)
    if not self then
        return
    end
    local id, length = message.socket_index, message.recv_len
    if self.receive_function then
        self.receive_function(sock_recv, id, length)
        return
    elseif self.awaits == "recv" then
        wake(self, "data", sock_recv(id, length))
        return
    elseif self.inbox_bytes < INBOX_MAX then
        store(self, sock_recv(id, length))
    else
        self.held = length
    end
    sys.publish("SOCKET_RECV", id)
end)

rtos.on(rtos.MSG_SOCK_CLOSE_IND, function(message)
    local self = client_of(message)
    if self then
        log.debug("socket", self.id, message.reason or "closed by the peer")
        set_connected(self, false)
        publish_failure(self, "LIB_SOCKET_CLOSE_IND")
        break_off(self, "CLOSED")
    end
end)

rtos.on(rtos.MSG_SOCK_CLOSE_CNF, function(message)
    local self = client_of(message)
    if not self then
        return
    elseif self.awaits == "close" then
        wake(self, "closed")
    else -- the script called sock_close itself
        set_connected(self, false)
        break_off(self, "CLOSED")
    end
end)

sys.subscribe("SOCKET_ASYNC_SEND", function(id)
    local self = clients[id or -1]
    if self and self.awaits == "queue" then
        wake(self, "queued")
    end
end)

sys.subscribe("IP_ERROR_IND", function()
    local all = {}
    for _, self in pairs(clients) do
        all[#all + 1] = self
    end
    for _, self in ipairs(all) do -- tasks that are woken change `clients`
        break_off(self, "IP_ERROR_IND")
    end
end)

-- Clients.

--- @section end

local function new_client(kind, protocol, cert, coreExt)
    local co, is_main = running()
    if not co or is_main then
        log.error("socket", "a client must be made inside a task")
        return nil
    end
    local self = setmetatable({
        type = kind,
        protocol = protocol,
        ssl = kind == SSL,
        cert = cert,
        receive_buffer = coreExt and tonumber(coreExt.rcvBufferSize),
        co = co,
        connected = false,
        topics = {},
        queue = {}, queue_first = 1, queue_last = 0,
    }, client)
    clear_inbox(self)
    return self
end

--- Makes a TCP client. To be called inside a task.
-- @tparam[opt=false] boolean ssl true: TLS over TCP
-- @tparam[opt] table cert file names `caCert`, `clientCert`, `clientKey`, the string
-- `clientPassword`, and `insist` (1: connect in spite of a wrong name in the server's certificate,
-- 0: never). A name without a leading `/` is looked up under `/lua/`, on the host below the
-- script's directory. Without `caCert` the server is not verified. `caCert = "system"` and the
-- other keys of `socketcore.sock_conn` are passed on
-- @tparam[opt] table coreExt `rcvBufferSize`: the receive buffer in bytes
-- @treturn client the client, or nil outside a task
-- @raise an error when an argument or a value in a table is of the wrong type, and for a key that
-- differs from a right one in case or by a letter or two; any other unknown key is a warning in the
-- log
function socket.tcp(ssl, cert, coreExt)
    if type(ssl) == "table" then
        bad_argument(1, "tcp", "boolean", ssl, 3)
    end
    if ssl then
        check_table(cert, 2, "cert", CERT_KEYS)
    end
    check_table(coreExt, 3, "coreExt", CORE_KEYS)
    if ssl then
        return new_client(SSL, "TCPSSL", cert, coreExt)
    end
    return new_client(TCP, "TCP", nil, coreExt)
end

--- Makes a UDP client. To be called inside a task.
-- @treturn client the client, or nil outside a task
function socket.udp()
    return new_client(UDP, "UDP")
end

--- Can sockets be opened? The same as `link.isReady`.
-- @function socket.isReady
-- @treturn boolean
socket.isReady = link.isReady

-- A client hands out what it has buffered before it says "CLOSED", so CLOSE_IND need not wait.
if socketcore.config then
    socketcore.config({ close_grace_ms = 0 })
end

_G.socket = socket
return socket
