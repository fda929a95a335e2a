-- Lua code that runs inside a function of socketcore or rtos: finalizers, which any allocation may
-- call, and the metamethods of a script's own tables. It may call any function, also on the same
-- socket.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"

-- `during(f, inner)` calls f with a collector that runs whole cycles in each of its allocations;
-- objects whose finalizer is `inner` are garbage then. It does so until `inner` has run inside f.
local PREAMBLE = ([[
    require "rtos"
    require "socketcore"
    local sc = socketcore
    local PORT = { echo = %d, script = %d, refused = %d, closer = %d }

    local function on_collect(f)
        if newproxy then
            getmetatable(newproxy(true)).__gc = f
        else
            setmetatable({}, { __gc = f })
        end
    end

    local fired = 0
    local function during(f, inner, ...)
        collectgarbage()
        collectgarbage "stop"
        local is_inside, is_busy = true, false
        for _ = 1, 50 do
            on_collect(function()
                if is_inside and not is_busy then
                    is_busy = true
                    fired = fired + 1
                    inner()
                    is_busy = false
                end
            end)
        end
        collectgarbage "restart"
        collectgarbage("setpause", 0)
        collectgarbage("setstepmul", 1000000)
        local first, second, third = f(...)
        is_inside = false
        collectgarbage("setpause", 200)
        collectgarbage("setstepmul", 200)
        return first, second, third
    end

    local function wait(id, message)
        local stop = rtos.tick() + 16384 * 10
        while rtos.tick() < stop do
            local m = rtos.receive(1000)
            if type(m) == "table" and m.socket_index == id and m.id == message then
                return m
            end
        end
        error("the message never came")
    end

    local function open(port)
        local id = assert(sc.sock_conn(0, "127.0.0.1", port))
        return id, wait(id, rtos.MSG_SOCK_CONN_CNF)
    end

    local function close(id)
        assert(sc.sock_close(id) == 1)
        wait(id, rtos.MSG_SOCK_CLOSE_CNF)
        assert(sc.sock_destroy(id) == 1)
    end

    local function pattern(length)
        local bytes, x = {}, 1
        for i = 1, 65521 do
            x = (x * 171 + 11213) %% 53125
            bytes[i] = string.char(x %% 256)
        end
        return table.concat(bytes):rep(math.ceil(length / 65521)):sub(1, length)
    end
]]):format(h.port.echo, h.port.script, h.port.refused, h.port.closer)

describe("a finalizer that runs inside", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    local function run(script)
        local printed, status = h.run_lua(PREAMBLE .. script .. [[
            assert(fired > 0, "no finalizer ran inside")
            print "done"
        ]], 60)
        assert.equal("done\n", printed)
        assert.equal(0, status)
    end

    for _, length in ipairs { 10, 2048, 100000 } do
        it(("sock_recv of %d bytes may read the same socket"):format(length), function()
            run(([[
                local LENGTH, TOTAL = %d, 250000
                sc.config { recv_ind_max = 200000 }
                local id = open(PORT.script)
                assert(sc.sock_send(id, "fin" .. LENGTH .. " send:" .. TOTAL .. "\n") == 1)
                local parts, left = {}, TOTAL
                local function take(data)
                    parts[#parts + 1] = data
                    left = left - #data
                end
                local rounds = 0
                while left > 0 do
                    local m = rtos.receive(5000)
                    assert(type(m) == "table", "nothing came")
                    if m.id == rtos.MSG_SOCK_RECV_IND then
                        rounds = rounds + 1
                        if rounds %% 4 == 1 and rounds < 100 then
                            take((during(sc.sock_recv, function()
                                take(sc.sock_recv(id, 1500))
                            end, id, LENGTH)))
                        else
                            take(sc.sock_recv(id, 2000 + rounds))
                        end
                    end
                end
                assert(table.concat(parts) == pattern(TOTAL), "bytes are lost or came twice")
                assert(sc.sock_info(id).bytes_in == TOTAL)
                close(id)
            ]]):format(length))
        end)

        it(("sock_recv of %d bytes may destroy the socket"):format(length), function()
            run(([[
                sc.config { recv_ind_max = 200000 }
                for round = 1, 5 do
                    local id = open(PORT.script)
                    assert(sc.sock_send(id, "des%d_" .. round .. " send:200000\n") == 1)
                    wait(id, rtos.MSG_SOCK_RECV_IND)
                    rtos.sleep(20)
                    local is_gone = false
                    local data = during(sc.sock_recv, function()
                        if not is_gone then
                            close(id)
                            is_gone = true
                        end
                    end, id, %d)
                    assert(is_gone and data == "", #data)
                    assert(sc.sock_info(id) == nil)
                end
                assert(sc.totals().sockets == 0)
            ]]):format(length, length))
        end)
    end

    it("sock_recv of a datagram may read it, and the next is given whole", function()
        run([[
            local id = assert(sc.sock_conn(1, "127.0.0.1", ]] .. h.port.udp_echo .. [[))
            wait(id, rtos.MSG_SOCK_CONN_CNF)
            local short, long = ("s"):rep(500), ("l"):rep(1000)
            assert(sc.sock_send(id, short) == 1 and sc.sock_send(id, long) == 1)
            repeat rtos.sleep(5) until sc.sock_info(id).bytes_in == 1500
            local got = {}
            got[2] = during(sc.sock_recv, function()
                got[1] = got[1] or sc.sock_recv(id, 2048)
            end, id, 2048)
            assert(got[1] == short and got[2] == long)
            close(id)
        ]])
    end)

    it("rtos.receive may take messages, also of the socket whose turn it is", function()
        run([[
            local counts, closed = {}, {}
            local function count(m)
                if type(m) ~= "table" then
                    return m
                end
                local key = m.socket_index .. " " .. m.id
                counts[key] = (counts[key] or 0) + 1
                closed[m.socket_index] = closed[m.socket_index]
                    or m.id == rtos.MSG_SOCK_CLOSE_CNF or nil
                return m
            end
            for _ = 1, 10 do
                counts, closed = {}, {}
                for id = 500, 520 do
                    assert(sc.sock_close(id) == 1)
                    assert(sc.sock_close(id) == 1)
                end
                repeat
                    local m = count((during(rtos.receive, function()
                        count(rtos.receive(0))
                        count(rtos.receive(0))
                    end, 0)))
                until type(m) ~= "table"
                for id = 500, 520 do
                    local key = id .. " " .. rtos.MSG_SOCK_CLOSE_CNF
                    assert(counts[key] == 2, tostring(counts[key]))
                end
                assert(rtos.idle())
            end
        ]])
    end)

    it("rtos.receive may wait for the message that is made just then", function()
        run([[
            for round = 1, 10 do
                local id = assert(sc.sock_conn(0, "127.0.0.1", PORT.echo))
                local inner
                local m = during(rtos.receive, function()
                    inner = inner or wait(id, rtos.MSG_SOCK_CONN_CNF)
                end, 100)
                assert((inner and m == rtos.WAIT_MSG_TIMEOUT) or m.id == rtos.MSG_SOCK_CONN_CNF)
                close(id)
            end
        ]])
    end)

    it("rtos.receive may destroy the socket of a failure", function()
        run([[
            for round = 1, 10 do
                local id = assert(sc.sock_conn(0, "127.0.0.1", PORT.refused))
                rtos.sleep(20)
                local is_gone = false
                local m = during(rtos.receive, function()
                    if not is_gone then
                        is_gone = true
                        close(id)
                    end
                end, 100)
                if is_gone then
                    assert(m == rtos.WAIT_MSG_TIMEOUT, type(m))
                else
                    assert(m.reason:find "refused")
                    close(id)
                end
            end
        ]])
    end)

    it("sock_info may destroy the socket", function()
        run([[
            for round = 1, 10 do
                local id, m = open(PORT.refused)
                assert(m.result == 1)
                local is_gone = false
                local info = during(sc.sock_info, function()
                    if not is_gone then
                        is_gone = sc.sock_destroy(id) == 1
                        for i = 1, 20 do
                            sc.sock_conn(0, ("a"):rep(30 + i), 80)
                        end
                    end
                end, id)
                assert(is_gone and info.type == 0 and info.state == "closed")
                assert(info.reason:find "refused", info.reason)
                for other = 0, 30 do
                    sc.sock_close(other)
                    wait(other, rtos.MSG_SOCK_CLOSE_CNF)
                    sc.sock_destroy(other)
                end
            end
        ]])
    end)

    it("sock_conn may open sockets, and fail to", function()
        run([[
            local first = #tostring(sc.totals().sockets)
            local opened = {}
            local id = during(sc.sock_conn, function()
                opened[#opened + 1] = sc.sock_conn(0, "127.0.0.1", PORT.echo)
            end, 2, "127.0.0.1", PORT.echo, setmetatable({}, { __index = function(_, key)
                return key == "hostName" and "name" .. #opened .. "." or nil
            end }))
            assert(id)
            for _, other in ipairs(opened) do
                assert(other ~= id)
            end
            local _, err, reason = during(sc.sock_conn, function()
                sc.sock_conn(2, "127.0.0.1", PORT.echo, { clientCert = "x", clientKey = "y" })
            end, 2, "127.0.0.1", PORT.echo, { caCert = "no certificate" })
            assert(err == sc.ERR_SSL_EINIT and reason:find "caCert", reason)
        ]])
    end)

    it("socketcore.config may set an option", function()
        run([[
            local options = during(sc.config, function()
                sc.config { linger_ms = 1234 }
            end, { close_grace_ms = 77 })
            assert(options.linger_ms == 1234 and options.close_grace_ms == 77)
            assert(sc.config().linger_ms == 1234 and sc.config().close_grace_ms == 77)
        ]])
    end)
end)

describe("a cert table that makes its values when they are asked for", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    -- Values of one connection's cert that are garbage as soon as __index has returned them.
    local function run(script)
        local printed, status = h.run_lua(PREAMBLE .. [[
            collectgarbage("setpause", 1)
            collectgarbage("setstepmul", 10000)
            local number = 0
            local function fresh(text)
                number = number + 1
                return text .. ("x"):rep(200) .. number
            end
            local function lazy(make)
                return setmetatable({}, { __index = function(_, key)
                    local junk = {}
                    for i = 1, 50 do
                        junk[i] = ("\255"):rep(200 + i) .. number
                    end
                    junk = nil
                    collectgarbage()
                    return make[key] and make[key]()
                end })
            end
        ]] .. script .. " print 'done'", 60)
        assert.equal("done\n", printed)
        assert.equal(0, status)
    end

    it("is read as if it had them", function()
        run([[
            for _ = 1, 5 do
                -- What is refused says what was read.
                local _, err, reason = sc.sock_conn(2, "127.0.0.1", PORT.echo, lazy {
                    hostName = function() return fresh "host." end,
                    alpn = function() return { fresh "a", fresh "b", fresh "c" } end,
                    psk = function() return "sec" .. number end,
                    pskIdentity = function() return fresh "me" end,
                    clientCert = function() return fresh "-----BEGIN CERTIFICATE-----\n" end,
                    clientKey = function() return fresh "key" end,
                })
                assert(err == sc.ERR_SSL_EINIT and reason:find "clientCert", reason)
                assert(sc.sock_conn(2, "127.0.0.1", PORT.echo, lazy {
                    hostName = function() return fresh "host." end,
                    alpn = function() return { fresh "a", fresh "b", fresh "c" } end,
                    psk = function() return "sec" .. number end,
                    pskIdentity = function() return fresh "me" end,
                }))
            end
        ]])
    end)
end)
