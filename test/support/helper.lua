--- What the specs stand on: the two modules under test, the peer at the other end, waiting with an
-- end, and two things that hold in every test: the order of messages that CONTRACT.md promises is
-- checked on each message that arrives, and `finish` finds every id free, `finish_file`
-- finds lwIP's memory back.
--
-- A spec file begins with
--
--     local h = require "test.support.helper"
--     describe("...", function()
--         before_each(h.begin)
--         after_each(h.finish)
--         teardown(h.finish_file)
--
-- and calls `h.sc.sock_conn(...)` and so on: the functions of socketcore with the book-keeping that
-- the checks need. `h.raw` is the module itself.
--
-- SPDX-License-Identifier: MIT

local luasocket = require "socket.core" -- `socket` is the firmware scripts' module of that name

-- No test may send anything to another machine. test.sh sees to that, with a namespace or with
-- loopback_only.c; a spec that is started without it ends here. (To connect a datagram socket sends
-- nothing.)
for name, address in pairs { udp4 = "198.51.100.1", udp6 = "2001:db8::1" } do
    local probe = luasocket[name] and luasocket[name]()
    if probe and probe:setpeername(address, 0) then
        error("other machines can be reached from here: run the specs with ./dev test", 0)
    end
    if probe then
        probe:close()
    end
end

-- Busted gives each file package.loaded afresh; what must be there once is kept in the registry.
local store = debug.getregistry().socketcore_test
if store == nil then
    store = { processes = {} }
    debug.getregistry().socketcore_test = store
    store.socketcore = require "socketcore"
    store.rtos = require "rtos"
end
package.loaded.socketcore, _G.socketcore = store.socketcore, store.socketcore
package.loaded.rtos, _G.rtos = store.rtos, store.rtos

local socketcore, rtos = store.socketcore, store.rtos

local h = { raw = socketcore, rtos = rtos, TCP = 0, UDP = 1, SSL = 2, RAW = 4 }

--- True in the namespace of netns.sh, where names and addresses are under control.
h.netns = os.getenv "SOCKETCORE_NETNS" == "1"

local function find_build_dir()
    local path = package.searchpath and package.searchpath("socketcore", package.cpath)
    if not path then
        for template in package.cpath:gmatch "[^;]+" do
            local name = template:gsub("%?", "socketcore")
            local file = io.open(name)
            if file then
                file:close()
                path = name
                break
            end
        end
    end
    return path and path:match "^(.*)/[^/]*$" or "."
end
local build_dir = find_build_dir()

--- True when a sanitizer slows everything down: tests that count on speed do less then.
h.sanitized = build_dir:find "[at]san$" ~= nil

local DEFAULT_WAIT = h.sanitized and 30000 or 10000

--- Seconds, of the wall clock, with a fraction.
h.now = luasocket.gettime

--- Milliseconds since `start`, which came from `h.now`.
function h.elapsed(start)
    return (luasocket.gettime() - start) * 1000
end

------------------------------------------------------------------------ the book-keeping of sockets

-- Per id: what the script did and what came. `history` is the list of messages as text.
local books = {}
local stray = {} -- messages for ids without a book
local waiting = {} -- messages that came while something else was waited for, in their order

local names = {}
for _, name in ipairs { "CONN_CNF", "SEND_CNF", "RECV_IND", "CLOSE_IND", "CLOSE_CNF" } do
    h[name] = assert(rtos["MSG_SOCK_" .. name], "rtos.MSG_SOCK_" .. name .. " is missing")
    names[h[name]] = name
end

local function violation(book, text)
    local so_far = book and table.concat(book.history, " ") or ""
    error(("contract violated on socket %s: %s (messages so far: %s)"):format(
        book and tostring(book.id) or "?", text, so_far), 0)
end

local function expect(condition, book, ...)
    if not condition then
        violation(book, string.format(...))
    end
end

local function new_book(id, type)
    return {
        id = id,
        type = type,
        history = {},
        counts = { CONN_CNF = 0, SEND_CNF = 0, RECV_IND = 0, CLOSE_IND = 0, CLOSE_CNF = 0 },
        sends = {}, -- lengths under way, with `refused`
        closes = 0, -- calls of sock_close that returned 1
        buffer = "", -- read from the socket, not yet taken by h.read
    }
end

local on_message = {}

function on_message.CONN_CNF(book, message)
    expect(book.counts.CONN_CNF == 1, book, "a second CONN_CNF")
    expect(#book.history == 1, book, "CONN_CNF was not the first message")
    expect(book.closes == 0, book, "CONN_CNF after sock_close")
    book.connected = message.result == 0
    book.failed = message.result == 1
end

function on_message.SEND_CNF(book, message)
    local send = table.remove(book.sends, 1)
    expect(send, book, "SEND_CNF without a send under way")
    expect(message.send_len == send.length, book, "SEND_CNF of %s bytes, the send had %d",
        tostring(message.send_len), send.length)
    expect(not send.refused or message.result == 1, book, "a refused send was confirmed")
    expect(book.counts.CLOSE_IND == 0, book, "SEND_CNF after CLOSE_IND")
end

function on_message.RECV_IND(book, message)
    expect(book.connected, book, "RECV_IND on a socket that is not connected")
    expect(book.closes == 0, book, "RECV_IND after sock_close")
    expect(not book.announced, book, "a second RECV_IND before the first was read")
    expect(book.counts.CLOSE_IND == 0, book, "RECV_IND after CLOSE_IND")
    local length = message.recv_len
    expect(type(length) == "number", book, "RECV_IND without recv_len")
    if book.type == h.TCP or book.type == h.SSL then
        expect(length >= 1 and length <= socketcore.config().recv_ind_max, book,
            "RECV_IND announced %s bytes", tostring(length))
    end
    book.announced = length
end

function on_message.CLOSE_IND(book)
    expect(book.connected, book, "CLOSE_IND on a socket that is not connected")
    expect(book.closes == 0, book, "CLOSE_IND after sock_close")
    expect(book.counts.CLOSE_IND == 1, book, "a second CLOSE_IND")
    expect(not book.announced, book, "CLOSE_IND before announced data was read")
    expect(#book.sends == 0, book, "CLOSE_IND before the SEND_CNF of %d sends", #book.sends)
    book.lost = true
end

function on_message.CLOSE_CNF(book)
    expect(book.counts.CLOSE_CNF <= book.closes, book, "more CLOSE_CNF than calls of sock_close")
    expect(#book.sends == 0, book, "CLOSE_CNF before the SEND_CNF of %d sends", #book.sends)
end

local function check_fields(message, name)
    local function need(condition, field)
        expect(condition, books[message.socket_index], "%s with %s = %s", name, field,
            tostring(message[field]))
    end
    need(type(message.socket_index) == "number" and message.socket_index >= 0, "socket_index")
    need(message.result == 0 or message.result == 1, "result")
    if message.result == 1 or name == "CLOSE_IND" then
        need(type(message.error) == "number", "error")
        need(type(message.reason) == "string" and #message.reason > 3
            and not message.reason:find "\n", "reason")
    end
end

local function record(message)
    local name = names[message.id]
    if name == nil then
        error("a message with the unknown id " .. tostring(message.id), 0)
    end
    check_fields(message, name)
    local book = books[message.socket_index]
    if book == nil then
        stray[#stray + 1] = message
        return
    end
    book.history[#book.history + 1] = name .. (message.result == 0 and "" or "!")
    book.counts[name] = book.counts[name] + 1
    expect(not book.failed or name == "CLOSE_CNF", book, "%s after a failed CONN_CNF", name)
    on_message[name](book, message)
end

-- socketcore's functions as the specs call them.
local sc = setmetatable({}, { __index = socketcore })
h.sc = sc

local function conn_with(connect)
    return function(type, ...)
        local id, err, reason = connect(type, ...)
        if id then
            expect(books[id] == nil, books[id], "the id was given out while it was in use")
            books[id] = new_book(id, type == 3 and h.RAW or type)
        end
        return id, err, reason
    end
end
sc.sock_conn = conn_with(socketcore.sock_conn)
sc.sock_conn_ext = conn_with(socketcore.sock_conn_ext)

function sc.sock_send(id, data)
    local ok, err = socketcore.sock_send(id, data)
    local book = books[id]
    if book then
        local confirmable = book.connected and not book.lost and book.closes == 0
        if ok == 1 or confirmable then
            book.sends[#book.sends + 1] = { length = #data, refused = ok ~= 1 }
        end
    end
    return ok, err
end

function sc.sock_recv(id, length)
    local data = socketcore.sock_recv(id, length)
    local book = books[id]
    if book and length > 0 then
        book.announced = nil
    end
    return data
end

function sc.sock_close(id)
    local ok = socketcore.sock_close(id)
    if ok == 1 and books[id] then
        books[id].closes = books[id].closes + 1
        books[id].announced = nil
    end
    return ok
end

function sc.sock_destroy(id)
    local ok = socketcore.sock_destroy(id)
    local book = books[id]
    if ok == 1 then
        expect(book, nil, "sock_destroy of an id that is not in use returned 1")
        expect(book.counts.CLOSE_CNF > 0 or book.failed, book,
            "sock_destroy returned 1 before CLOSE_CNF")
        expect(book.counts.CLOSE_CNF == book.closes or book.allow_early_destroy, book,
            "destroyed with a CLOSE_CNF to come")
        books[id] = nil
        h.forget(id)
    end
    return ok
end

--- The messages of a socket in their order, "CONN_CNF RECV_IND", one with result 1 as "CONN_CNF!".
function h.history(id)
    return table.concat(books[id].history, " ")
end

--- How many messages of this name ("SEND_CNF") the socket has had.
function h.count(id, name)
    return books[id].counts[name]
end

--- Lets `sock_destroy` be called while another CLOSE_CNF is to come.
function h.allow_early_destroy(id)
    books[id].allow_early_destroy = true
end

------------------------------------------------------------------------------------------- waiting

--- The next message or nil. A timer is `{ timer = id }`.
function h.next(timeout_ms)
    local first, second = rtos.receive(timeout_ms or DEFAULT_WAIT)
    if type(first) == "table" then
        record(first)
        return first
    end
    if first == rtos.MSG_TIMER then
        return { timer = second }
    end
    assert(first == rtos.WAIT_MSG_TIMEOUT, "rtos.receive returned " .. tostring(first))
    return nil
end

local function describe_books()
    local lines = {}
    for id, book in pairs(books) do
        lines[#lines + 1] = ("  socket %d: %s"):format(id, table.concat(book.history, " "))
        if #lines > 10 then
            break
        end
    end
    return table.concat(lines, "\n")
end

--- Takes messages until `condition()` gives something true and returns that. `what` names it in
-- the error when it does not happen in time.
function h.wait_until(condition, what, timeout_ms)
    local deadline = h.now() + (timeout_ms or DEFAULT_WAIT) / 1000
    while true do
        local got = condition()
        if got then
            return got
        end
        local left = (deadline - h.now()) * 1000
        if left <= 0 then
            error(("waited %d ms in vain for %s\n%s"):format(timeout_ms or DEFAULT_WAIT, what,
                describe_books()), 2)
        end
        -- Not longer than 20 ms: the condition may be about something that posts no message.
        local message = h.next(math.ceil(math.min(left, 20)))
        if message then
            waiting[#waiting + 1] = message
        end
    end
end

local function take_waiting(matches)
    for i, message in ipairs(waiting) do
        if matches(message) then
            return table.remove(waiting, i)
        end
    end
end

--- The next message of socket `id`, of the kind `message_id` when given; others stay for later.
function h.wait_for(id, message_id, timeout_ms)
    local function matches(message)
        return message.socket_index == id and (message_id == nil or message.id == message_id)
    end
    local what = ("%s of socket %s"):format(names[message_id] or "a message", tostring(id))
    return h.wait_until(function() return take_waiting(matches) end, what, timeout_ms)
end

--- The next timer's id.
function h.wait_timer(timeout_ms)
    return h.wait_until(function()
        return take_waiting(function(message) return message.timer ~= nil end)
    end, "a timer", timeout_ms).timer
end

--- Fails when any message comes within `ms`; of socket `id` only, when given.
function h.expect_silence(ms, id)
    local deadline = h.now() + ms / 1000
    local left = ms
    repeat
        local message = take_waiting(function(m) return id == nil or m.socket_index == id end)
            or h.next(math.ceil(math.max(left, 0)))
        if message and (id == nil or message.socket_index == id) then
            error(("expected silence, got %s"):format(names[message.id] or "a timer"), 2)
        end
        left = (deadline - h.now()) * 1000
    until left <= 0
end

--- Forgets messages of a socket that came while something else was waited for.
function h.forget(id)
    for i = #waiting, 1, -1 do
        if waiting[i].socket_index == id then
            table.remove(waiting, i)
        end
    end
end

--- Lets the engine run for `ms` and takes what comes.
function h.pump(ms)
    local deadline = h.now() + ms / 1000
    repeat
        local message = h.next(math.ceil(math.max((deadline - h.now()) * 1000, 0)))
        if message then
            waiting[#waiting + 1] = message
        end
    until h.now() >= deadline
end

---------------------------------------------------------------------------------------------- data

-- The same as in peer.c.
local PERIOD = 65521
local function make_pattern()
    local bytes, x = {}, 1
    for i = 1, PERIOD do
        x = (x * 171 + 11213) % 53125
        bytes[i] = string.char(x % 256)
    end
    local block = table.concat(bytes)
    return block .. block
end
store.pattern = store.pattern or make_pattern()

--- `length` bytes of the pattern that peer.c sends and expects, from `offset` on.
function h.pattern(length, offset)
    offset = (offset or 0) % PERIOD
    if length <= PERIOD then
        return store.pattern:sub(offset + 1, offset + length)
    end
    local period = store.pattern:sub(offset + 1, offset + PERIOD)
    return period:rep(math.floor(length / PERIOD)) .. period:sub(1, length % PERIOD)
end

--- The checksum that peer.c reports.
function h.adler32(data)
    local a, b = 1, 0
    for i = 1, #data do
        a = (a + data:byte(i)) % 65521
        b = (b + a) % 65521
    end
    return b * 65536 + a
end

--- Every byte value once, in order.
function h.every_byte()
    local bytes = {}
    for i = 0, 255 do
        bytes[i + 1] = string.char(i)
    end
    return table.concat(bytes)
end

--------------------------------------------------------------------------------- whole exchanges

--- Opens a socket and waits until it is connected. Returns its id.
function h.open(type, address, port, ...)
    local id, _, reason = sc.sock_conn(type, address, port, ...)
    assert(id, reason)
    local message = h.wait_for(id, h.CONN_CNF)
    if message.result ~= 0 then
        error("not connected: " .. tostring(message.reason), 2)
    end
    return id
end

--- Closes a socket, waits for its CLOSE_CNF and frees the id.
function h.close(id, timeout_ms)
    assert(sc.sock_close(id) == 1, "sock_close refused")
    h.wait_for(id, h.CLOSE_CNF, timeout_ms)
    assert(sc.sock_destroy(id) == 1, "sock_destroy refused")
end

--- Sends and waits for the confirmation.
function h.send(id, data, timeout_ms)
    local ok, err = sc.sock_send(id, data)
    if ok ~= 1 then
        error("sock_send refused, error " .. tostring(err), 2)
    end
    local message = h.wait_for(id, h.SEND_CNF, timeout_ms)
    assert(message.result == 0, message.reason)
end

--- Reads what one RECV_IND announces.
function h.read_announced(id, timeout_ms)
    local message = h.wait_for(id, h.RECV_IND, timeout_ms)
    local data = sc.sock_recv(id, math.max(message.recv_len, 1))
    if #data ~= message.recv_len then
        error(("RECV_IND announced %d bytes, sock_recv gave %d"):format(message.recv_len, #data), 2)
    end
    return data
end

--- Reads exactly `length` bytes of a stream; what came beyond stays for the next call.
function h.read(id, length, timeout_ms)
    local book = books[id]
    local parts, have = { book.buffer }, #book.buffer
    while have < length do
        local data = h.read_announced(id, timeout_ms)
        parts[#parts + 1] = data
        have = have + #data
    end
    local all = table.concat(parts)
    book.buffer = all:sub(length + 1)
    return all:sub(1, length)
end

--- Reads `length` bytes that must be the pattern from `offset` on, without keeping them.
function h.read_pattern(id, length, offset)
    offset = offset or 0
    local done = 0
    while done < length do
        local data = h.read_announced(id)
        if data ~= h.pattern(#data, offset + done) then
            error(("wrong data within %d bytes of offset %d"):format(#data, offset + done), 2)
        end
        done = done + #data
    end
    assert(done == length, "more data than expected")
end

--- Reads until CLOSE_IND. Returns the data and that message.
function h.read_to_end(id, timeout_ms)
    local parts = { books[id].buffer }
    while true do
        local message = h.wait_for(id, nil, timeout_ms)
        if message.id == h.CLOSE_IND then
            return table.concat(parts), message
        end
        if message.id == h.RECV_IND then
            parts[#parts + 1] = sc.sock_recv(id, message.recv_len)
            assert(#parts[#parts] == message.recv_len, "sock_recv gave less than announced")
        end
    end
end

--- Sends `length` bytes of the pattern in pieces, at most `window` of them under way.
function h.send_pattern(id, length, offset, piece, window)
    offset, piece, window = offset or 0, piece or 11200, window or 8
    local sent, confirmed, under_way = 0, 0, 0
    while confirmed < length do
        while under_way < window and sent < length do
            local data = h.pattern(math.min(piece, length - sent), offset + sent)
            assert(sc.sock_send(id, data) == 1, "sock_send refused")
            sent, under_way = sent + #data, under_way + 1
        end
        local message = h.wait_for(id, h.SEND_CNF)
        assert(message.result == 0, message.reason)
        confirmed, under_way = confirmed + message.send_len, under_way - 1
    end
end

----------------------------------------------------------------------------------------- the peer

--- `text` as one word of a shell's command line.
function h.quote(text)
    return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- The program that CMake built from test/support/NAME.c, for a shell's command line.
function h.program(name)
    local path = build_dir .. "/test/" .. name
    local file = assert(io.open(path), "the test program " .. path .. " is not built: ./dev build")
    file:close()
    return h.quote(path)
end

--- A library of test/support/preload for LD_PRELOAD: by a name without blanks, which would separate
-- two libraries. test.sh links it.
function h.preload(name)
    h.program(name)
    return os.getenv "SC_WORK" .. "/test/" .. name
end

--- Reads a whole file, "" when there is none.
function h.slurp(name)
    local file = io.open(name)
    local text = file and file:read "*a" or ""
    if file then
        file:close()
    end
    return text
end

--- A file name that nothing has. Not os.tmpname's: that is in /tmp, whatever TMPDIR says, and the
-- directory that test.sh gives to a spec must be empty at its end.
function h.temporary_name()
    store.names = (store.names or 0) + 1
    local pid = h.slurp "/proc/self/stat":match "^%d+"
    return ("%s/spec-%s-%d"):format(os.getenv "TMPDIR" or "/tmp", pid, store.names)
end

--- Starts a process that ends with this one at the latest: a shell waits for the end of its input,
-- which is a pipe from here. Returns `{ pid =, log = }`, the name of the file with its output: a
-- descriptor of the shell, so that nothing is left once it has ended.
function h.spawn(command)
    local log = h.temporary_name()
    local line = "exec 9>%s; exec %s </dev/null >&9 2>&1 9>&- & echo $! $$ >%s.pid; "
        .. "exec 2>/dev/null; read _; kill $!; wait $!"
    local pipe = assert(io.popen(line:format(log, command, log), "w"))
    local process = { pipe = pipe }
    local deadline = h.now() + DEFAULT_WAIT / 1000
    local pid, shell
    repeat
        pid, shell = h.slurp(log .. ".pid"):match "^(%d+) (%d+)\n"
        assert(h.now() < deadline, "no process id")
    until pid
    os.remove(log)
    os.remove(log .. ".pid")
    process.pid, process.log = tonumber(pid), ("/proc/%s/fd/9"):format(shell)
    store.processes[process.pid] = process
    return process
end

--- The first line that a process printed.
function h.first_line(process)
    local deadline = h.now() + DEFAULT_WAIT / 1000
    repeat
        local line = h.slurp(process.log):match "^(.-)\n"
        if line then
            return line
        end
        luasocket.sleep(0.01)
    until h.now() > deadline
    error("the process printed nothing", 2)
end

--- Ends a process that `h.spawn` started, and waits until it is gone.
function h.stop(process)
    process.pipe:close()
    store.processes[process.pid] = nil
end

--- Waits, by connecting over the kernel, until something listens.
function h.wait_listening(port, timeout_ms)
    local deadline = h.now() + (timeout_ms or DEFAULT_WAIT) / 1000
    repeat
        local client = luasocket.tcp()
        local ok = client:connect("127.0.0.1", port)
        client:close()
        if ok then
            return
        end
        luasocket.sleep(0.02)
    until h.now() > deadline
    error(("nothing listens on port %d"):format(port))
end

--- A port on which nothing listened a moment ago.
function h.free_port()
    local server = assert(luasocket.tcp())
    assert(server:bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    server:close()
    return math.floor(tonumber(port))
end

local function start_peer()
    local process = h.spawn(h.program "peer")
    local ports = {}
    for name, port in h.first_line(process):gmatch "(%S+)=(%d+)" do
        ports[name] = tonumber(port)
    end
    store.control = assert(luasocket.tcp())
    assert(store.control:connect("127.0.0.1", ports.control))
    store.control:settimeout(10)
    store.control:setoption("tcp-nodelay", true)
    store.ports = ports
end

--- Ports of peer.c by name: echo, discard, script, closer, resetter, greeter, ipv4, silent,
-- refused, udp_echo, udp_script, udp_sink, udp_silent.
h.port = setmetatable({}, {
    __index = function(_, name)
        if not store.ports then
            start_peer()
        end
        return assert(store.ports[name], "peer has no port " .. name)
    end,
})

--- Asks the peer over the kernel. Returns its line, and the pairs in it as a table.
function h.ask(question)
    local _ = h.port.control
    assert(store.control:send(question .. "\n"))
    local line = assert(store.control:receive "*l")
    local pairs_in_it = {}
    for name, value in line:gmatch "(%S+)=(%S*)" do
        pairs_in_it[name] = tonumber(value) or value
    end
    return line, pairs_in_it
end

--- What the peer knows of a connection: rx, tx (bytes), match (1: all was the pattern), adler, fin
-- (1: it saw our FIN), ["end"] (open, fin, rst, closed, reset).
function h.stat(tag)
    local line, stat = h.ask("stat " .. tag)
    return line ~= "none" and stat or nil
end

--- Pumps until the peer's view of a connection satisfies `condition(stat)`, and returns it.
function h.wait_stat(tag, condition, what, timeout_ms)
    return h.wait_until(function()
        local stat = h.stat(tag)
        return stat and condition(stat) and stat
    end, what or ("the peer's connection " .. tag), timeout_ms)
end

--- A tag that no connection has had.
function h.tag()
    store.tags = (store.tags or 0) + 1
    return ("t%d"):format(store.tags)
end

--- Opens a TCP connection on which the peer runs `script`. Returns its id and its tag. Further
-- arguments go to `sock_conn`; the address is 127.0.0.1 unless given as `script.address`.
function h.open_script(script, ...)
    local tag = h.tag()
    local id = h.open(h.TCP, "127.0.0.1", h.port.script, ...)
    h.send(id, tag .. " " .. script .. "\n")
    return id, tag
end

--- Pushes the peer's end of a connection on, once the peer has read the first line.
function h.tell(tag, script)
    h.wait_stat(tag, function() return true end, "the peer to know " .. tag)
    local line = h.ask(("do %s %s"):format(tag, script))
    if line ~= "ok" then
        error("the peer's connection " .. tag .. " has ended", 2)
    end
end

--- A connected TCP socket beside, and a function that shows that it still works.
function h.bystander()
    local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
    local number = 0
    return function()
        number = number + 1
        local text = ("still here %d;"):format(number)
        h.send(id, text)
        assert(h.read(id, #text) == text, "the bystander got something else back")
    end, id
end

----------------------------------------------------------------------------------- child processes

local function interpreter()
    local lowest = 0
    while arg and arg[lowest - 1] do
        lowest = lowest - 1
    end
    return os.getenv "SC_LUA" or (arg and arg[lowest]) or "lua5.1"
end
h.interpreter = h.quote(interpreter())

--- Writes a file.
function h.write_file(name, text)
    local file = assert(io.open(name, "wb"))
    file:write(text)
    file:close()
end

--- A new, empty directory, in `parent` when given; the caller removes it.
function h.directory(parent)
    local out = assert(io.popen(parent and ("mktemp -d -p '%s'"):format(parent) or "mktemp -d"))
    local name = assert(out:read "*l")
    out:close()
    return name
end

--- Writes `text` to a file that is gone after the test. Returns its name.
function h.file(text)
    local name = h.temporary_name()
    h.write_file(name, text)
    store.files = store.files or {}
    table.insert(store.files, name)
    return name
end

--- Runs a Lua script of its own in a process of its own, with at most `seconds` (30). Returns what
-- it printed and its exit status.
function h.run_lua(text, seconds)
    local command = ("timeout -k 1 %d %s %s 2>&1; echo \"exit status $?\""):format(seconds or 30,
        h.interpreter, h.file(text))
    local out = assert(io.popen(command, "r"))
    local all = out:read "*a"
    out:close()
    local printed, status = all:match "^(.*)exit status (%d+)%s*$"
    return printed, tonumber(status)
end

--- KB of memory that this process has in RAM.
function h.resident_kb()
    for line in io.lines "/proc/self/status" do
        local kb = line:match "^VmRSS:%s*(%d+)"
        if kb then
            return tonumber(kb)
        end
    end
end

------------------------------------------------------------------------------------- begin, finish

--- Ids that are in use, by asking for each.
function h.ids_in_use()
    local used = {}
    for id = 0, socketcore.config().max_sockets - 1 do
        if socketcore.sock_info(id) then
            used[#used + 1] = id
        end
    end
    return used
end

local function settle(condition, timeout_ms)
    local deadline = h.now() + timeout_ms / 1000
    while not condition() do
        if h.now() > deadline then
            return false
        end
        h.next(5)
    end
    return true
end

-- What lwIP keeps from the first use on is not a leak: each kind of socket is used once before
-- the memory is noted that every test has to come back to.
local function warm_up()
    store.defaults = socketcore.config()
    for type = 0, 1 do
        local address = h.netns and "one.test" or "127.0.0.1"
        local id = sc.sock_conn(type, address, type == 0 and h.port.echo or h.port.udp_echo)
        if id then
            h.wait_for(id, h.CONN_CNF)
            h.close(id)
        end
    end
    h.note_memory()
end

--- before_each of every spec that opens sockets.
function h.begin()
    if not store.defaults then
        warm_up()
    end
    books, stray, waiting = {}, {}, {}
end

local function close_all()
    local problems = {}
    for id, book in pairs(books) do
        book.allow_early_destroy = true
        if book.closes == 0 then
            sc.sock_close(id)
        end
    end
    local function all_closed()
        for _, book in pairs(books) do
            if book.counts.CLOSE_CNF < book.closes then
                return false
            end
        end
        return true
    end
    local deadline = h.now() + DEFAULT_WAIT / 1000
    while not all_closed() and h.now() < deadline do
        local ok, err = pcall(h.next, 20)
        if not ok then
            problems[#problems + 1] = err
        end
    end
    for id, book in pairs(books) do
        if socketcore.sock_destroy(id) ~= 1 then
            problems[#problems + 1] = ("socket %d cannot be freed: %s"):format(id,
                table.concat(book.history, " "))
        end
    end
    books = {}
    return problems
end

local function remove_files()
    for _, name in ipairs(store.files or {}) do
        os.remove(name)
    end
    store.files = nil
end

local function default_options()
    local options = {}
    for name, value in pairs(store.defaults) do
        options[name] = name ~= "max_sockets" and value or nil
    end
    return options
end

--- after_each: closes what is open, then every id must be free and no message may come any more.
function h.finish()
    local options = default_options()
    options.linger_ms = 300
    socketcore.config(options)
    if store.control then
        h.ask "closeall"
    end
    local problems = close_all()
    local used = h.ids_in_use()
    if #used > 0 then
        problems[#problems + 1] = ("%d ids are still in use, the first is %d (%s)"):format(#used,
            used[1], socketcore.sock_info(used[1]).state)
    end
    local ok, err = pcall(function()
        while h.next(0) do end
    end)
    if not ok then
        problems[#problems + 1] = tostring(err)
    end
    for _, message in ipairs(stray) do
        problems[#problems + 1] = ("%s for id %d, which was not in use"):format(names[message.id],
            message.socket_index)
    end
    stray = {}
    socketcore.config(default_options())
    remove_files()
    if #problems > 0 then
        error(table.concat(problems, "\n"), 0)
    end
end

--- teardown of every spec that opens sockets: lwIP's memory must be back where it was.
function h.finish_file()
    local function memory_is_back()
        return rtos.memory() <= store.memory
    end
    if store.memory and not settle(memory_is_back, 2 * DEFAULT_WAIT) then
        error(("%d bytes of lwIP's memory did not come back"):format(rtos.memory() - store.memory))
    end
end

--- For a test that has lwIP keep more for good: later tests come back to what is in use now.
function h.note_memory()
    local least = rtos.memory and rtos.memory()
    if least then
        settle(function()
            least = math.min(least, rtos.memory())
            return false
        end, 1000)
        store.memory = least
    end
end

--- Messages for ids that no socket had, since `begin` or the last call: a test that closes such ids
-- takes them here, others must have none.
function h.take_stray()
    local taken = stray
    stray = {}
    return taken
end

return h
