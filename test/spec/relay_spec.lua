-- The default link ends the script's connections inside this process and goes on over the host's
-- sockets: what must not be seen of that.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

-- What a process that uses another link prints.
local function run_with_link(link, text)
    local name = h.file(text)
    local out = assert(io.popen(("SOCKETCORE_LINK=%s timeout -k 1 30 %s %s 2>&1"):format(link,
        h.interpreter, name)))
    local printed = out:read "*a"
    out:close()
    return printed
end

local function busy(ms)
    local start = h.now()
    while h.elapsed(start) < ms do end
end

describe("the relay", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    local ECHO = [[
        require "socketcore" require "rtos"
        local id = assert(socketcore.sock_conn(0, "127.0.0.1", PORT))
        local text = ("0123456789"):rep(100000)
        local parts, got, closed = {}, 0, false
        while not closed do
            local m = rtos.receive(10000)
            assert(type(m) == "table" and m.result == 0, m.reason)
            if m.id == rtos.MSG_SOCK_CONN_CNF then
                assert(socketcore.sock_send(id, text) == 1)
            elseif m.id == rtos.MSG_SOCK_RECV_IND then
                parts[#parts + 1] = socketcore.sock_recv(id, m.recv_len)
                got = got + m.recv_len
                if got == #text then
                    socketcore.sock_close(id)
                end
            end
            closed = m.id == rtos.MSG_SOCK_CLOSE_CNF
        end
        print(got .. " " .. tostring(table.concat(parts) == text))
    ]]

    for _, link in ipairs { "nat", "slirp" } do
        it("and what was there before it, SOCKETCORE_LINK=" .. link .. ", echo 1 MB", function()
            local script = ECHO:gsub("PORT", h.port.echo)
            assert.equal("1000000 true\n", run_with_link(link, script))
        end)
    end

    it("says which links there are when it does not know the one that was asked for", function()
        assert.matches("nat %(the default%), slirp or tap:NAME",
            run_with_link("carrier", 'require "socketcore"'))
    end)

    it("writes a stream that it holds together though the script is computing", function()
        local id, tag = h.open_script "hold"
        local before = h.wait_stat(tag, function() return true end).rx
        h.send_pattern(id, 20000)
        -- No h.pump here, nor anything else that runs the engine.
        local start, rx = h.now(), before
        while rx < before + 20000 and h.elapsed(start) < 5000 do
            busy(5)
            rx = tonumber(h.ask("stat " .. tag):match "rx=(%d+)")
        end
        assert.equal(before + 20000, rx)
    end)

    it("has a closing script's last bytes with the host before CLOSE_CNF", function()
        local id, tag = h.open_script "hold"
        local before = h.wait_stat(tag, function() return true end).rx
        h.send(id, ("x"):rep(30000))
        h.close(id)
        -- In the kernel by now: the peer gets it with this process stopped.
        local start, rx = h.now(), before
        while rx < before + 30000 and h.elapsed(start) < 5000 do
            rx = tonumber(h.ask("stat " .. tag):match "rx=(%d+)")
        end
        assert.equal(before + 30000, rx)
    end)

    it("delivers data that is followed by a reset, and then the reset", function()
        local id, tag = h.open_script "hold"
        h.tell(tag, "send:50000 wait:100 rst")
        h.read_pattern(id, 50000)
        local message = h.wait_for(id, h.CLOSE_IND)
        assert.equal(sc.ERR_ERST, message.error)
    end)

    it("is quiet when neither end takes what the other has", function()
        local id = h.open_script "rcvbuf:4096 noread send:8000000"
        local piece = ("x"):rep(11200)
        -- Until lwIP's timer for closed windows has used up the last bytes of both.
        for _ = 1, 150 do
            while sc.sock_getremainbuf(id) >= #piece do
                assert.equal(1, (sc.sock_send(id, piece)))
            end
            h.pump(20)
        end
        -- Nothing was read, everything is full in both directions.
        local cpu = os.clock()
        h.pump(500)
        local used = os.clock() - cpu
        assert.is_true(used < 0.25, ("%.0f ms of CPU time in 500 ms"):format(1000 * used))
        -- A reset ends what waits to be sent though the script does not read.
        h.ask "closeall"
        local message
        repeat
            message = h.wait_for(id, h.SEND_CNF)
        until message.result == 1
        assert.equal(sc.ERR_ERST, message.error)
        h.read_to_end(id)
    end)

    it("says that port 0 refuses", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", 0)
        local message = h.wait_for(id, h.CONN_CNF)
        assert.equal(1, message.result)
        assert.equal(sc.ERR_ERST, message.error)
        h.bystander()()
    end)

    -- Sends 600 KB to a peer that has closed its side, and closes. `script` is what the peer does.
    local function send_after_fin(script)
        local id, tag = h.open_script(script)
        local total, piece = 600000, ("x"):rep(20000)
        for _ = 1, total / #piece do
            assert.equal(1, (sc.sock_send(id, piece)))
        end
        assert.equal(1, sc.sock_close(id))
        local confirmed = 0
        repeat
            local message = h.wait_for(id)
            assert.equal(0, message.result, message.reason)
            if message.id == h.SEND_CNF then
                confirmed = confirmed + message.send_len
            end
        until message.id == h.CLOSE_CNF
        assert.equal(total, confirmed)
        h.wait_stat(tag, function(s) return s.rx >= total end)
    end

    it("delivers to a peer that has closed its side, and closes well", function()
        for _ = 1, 5 do
            send_after_fin "fin hold"
        end
    end)

    it("delivers to a peer that has closed its side and reads 2 s later", function()
        send_after_fin "rcvbuf:65536 fin noread wait:2000 doread hold"
    end)

    it("carries 300 connections at once, each with its own data", function()
        local ids = {}
        for i = 1, 300 do
            ids[i] = sc.sock_conn(h.TCP, "127.0.0.1", h.port.echo)
        end
        for i, id in ipairs(ids) do
            assert.equal(0, h.wait_for(id, h.CONN_CNF).result)
            assert.equal(1, (sc.sock_send(id, ("%04d"):format(i):rep(1000))))
        end
        for i, id in ipairs(ids) do
            assert.equal(("%04d"):format(i):rep(1000), h.read(id, 4000))
        end
    end)

    it("survives running out of descriptors, and says so", function()
        local printed = run_with_link("nat", ([[
            require "socketcore" require "rtos"
            socketcore.config { connect_timeout_ms = 1500 }
            local files = {}
            repeat
                files[#files + 1] = io.open("/dev/null")
            until #files == 100000 or not io.open("/dev/null")
            local id = assert(socketcore.sock_conn(0, "127.0.0.1", %d))
            local message = rtos.receive(10000)
            print(message.reason)
            print(message.result)
            socketcore.sock_destroy(id)
            for _, file in ipairs(files) do file:close() end
            id = assert(socketcore.sock_conn(0, "127.0.0.1", %d))
            print(rtos.receive(10000).result)
            os.exit(0)
        ]]):format(h.port.echo, h.port.echo))
        assert.matches("too many open files", printed)
        assert.matches("1\n0\n$", printed)
    end)
end)
