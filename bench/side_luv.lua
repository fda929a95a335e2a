--- The bench's luv side: libuv from Lua, with callbacks, over the kernel's loopback. What is read
-- becomes Lua strings as large as libuv makes them, up to 64 KB. See measure.lua.
--
-- SPDX-License-Identifier: MIT

package.path = arg[0]:match("^(.*)/") .. "/?.lua;" .. package.path
local measure = require "measure"
local uv = require "luv"

local options, size = measure.options, measure.size

local function now()
    return uv.hrtime() / 1e9
end

-- Calls `step(i, done)` for i = 1 to count and returns once each has called its `done`.
local function each(count, step)
    local left = count
    local function done()
        left = left - 1
        if left == 0 then
            uv.stop()
        end
    end
    for i = 1, count do
        step(i, done)
    end
    if left > 0 then
        uv.run()
    end
    assert(left == 0, "nothing happens any more")
end

local function connect(opened)
    local client = uv.new_tcp()
    assert(client:connect("127.0.0.1", options.tcp, function(err)
        assert(not err, err)
        assert(client:nodelay(true))
        opened(client)
    end))
end

-- As many connections as the command line wants.
local function connect_all()
    local clients = {}
    each(options.sockets, function(i, done)
        connect(function(client)
            clients[i] = client
            done()
        end)
    end)
    return clients
end

local function close_all(clients)
    each(#clients, function(i, done)
        clients[i]:close(done)
    end)
end

-- n units as evenly as can be on so many connections: how many on each, how many in all.
local function shared(n)
    local each_has = math.ceil(n / options.sockets)
    return each_has, each_has * options.sockets
end

local work = {}

local function send_with(under_way, n)
    local piece = string.rep("x", size)
    local clients = connect_all()
    local count, all = shared(n)
    for _, client in ipairs(clients) do
        assert(client:write("sink " .. count * size .. "\n"))
    end
    measure.begin(now)
    each(#clients, function(i, done)
        local client = clients[i]
        local sent = 0
        local function send_next(err)
            assert(not err, err)
            if sent < count then
                sent = sent + 1
                client:write(piece, send_next)
            end
        end
        client:read_start(function(err, data)
            assert(data == "k", err)
            client:read_stop()
            done()
        end)
        for _ = 1, under_way do
            send_next()
        end
    end)
    measure.finish()
    close_all(clients)
    return all
end

function work.send(n)
    return send_with(1, n)
end

function work.send8(n)
    return send_with(8, n)
end

function work.receive(n)
    local clients = connect_all()
    local count, all = shared(n)
    measure.begin(now)
    each(#clients, function(i, done)
        local client = clients[i]
        local left = count * size
        assert(client:write("source " .. left .. "\n"))
        client:read_start(function(err, data)
            left = left - #assert(data, err)
            if left == 0 then
                client:read_stop()
                done()
            end
        end)
    end)
    measure.finish()
    close_all(clients)
    return all
end

-- `count` round trips on each of these.
local function echo(clients, count)
    local data = string.rep("x", size)
    each(#clients, function(i, done)
        local client = clients[i]
        local trips, left = count, size
        client:read_start(function(err, got)
            left = left - #assert(got, err)
            if left > 0 then
                return
            end
            trips = trips - 1
            if trips == 0 then
                client:read_stop()
                return done()
            end
            left = size
            client:write(data)
        end)
        client:write(data)
    end)
end

function work.round_trip(n)
    local clients = connect_all()
    local count, all = shared(n)
    for _, client in ipairs(clients) do
        assert(client:write("echo\n"))
    end
    measure.begin(now)
    echo(clients, count)
    measure.finish()
    close_all(clients)
    return all
end

function work.connect(n)
    local count, all = shared(n)
    measure.begin(now)
    each(options.sockets, function(_, done)
        local left = count
        local function connect_next()
            if left == 0 then
                return done()
            end
            left = left - 1
            connect(function(client)
                client:close(connect_next)
            end)
        end
        connect_next()
    end)
    measure.finish()
    return all
end

function work.datagram(n)
    local data = string.rep("x", size)
    local count, all = shared(n)
    local clients = {}
    for i = 1, options.sockets do
        clients[i] = uv.new_udp()
        assert(clients[i]:connect("127.0.0.1", options.udp))
    end
    measure.begin(now)
    each(#clients, function(i, done)
        local client, left = clients[i], count
        client:recv_start(function(err, got)
            if not got then
                return assert(not err, err)
            end
            assert(#got == size)
            left = left - 1
            if left == 0 then
                client:recv_stop()
                return done()
            end
            client:send(data, nil, nil, function() end)
        end)
        client:send(data, nil, nil, function() end)
    end)
    measure.finish()
    close_all(clients)
    return all
end

local kept = {}

function work.idle(n)
    each(n, function(_, done)
        connect(function(client)
            kept[#kept + 1] = client
            client:read_start(function(err)
                error(err or "the server closed")
            end)
            done()
        end)
    end)
end

-- All are open and read from; a few of them exchange something.
function work.event(n)
    if #kept == 0 then
        work.idle(options.sockets)
        for _, client in ipairs(kept) do
            assert(client:write("echo\n"))
        end
    end
    local active = {}
    for i = 1, measure.EVENT_SOCKETS do
        active[i] = kept[i]
    end
    local count = math.ceil(n / #active)
    measure.begin(now)
    echo(active, count)
    measure.finish()
    return count * #active
end

measure.run(work)
