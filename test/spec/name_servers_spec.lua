-- Names whose first server is dead, refuses or cuts its answers, beside what the C library makes of
-- the same servers. Each lookup is made by a process of its own, which knows nothing of others.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

local here = debug.getinfo(1, "S").source:match "^@(.*)/spec/[^/]*$" or "test"
local script = here .. "/support/name_server.lua"

-- What runs in the process: `look(name)` gives the message of CONN_CNF and the milliseconds.
local PREFIX = [[
    require "socketcore" require "rtos"
    local luasocket = require "socket.core"
    local function look(name, type, port)
        local start = luasocket.gettime()
        local id = assert(socketcore.sock_conn(type or 1, name, port or 9))
        local message
        repeat
            message = rtos.receive(60000)
        until message.id == rtos.MSG_SOCK_CONN_CNF
        local took = (luasocket.gettime() - start) * 1000
        message.address = socketcore.sock_info(id).remote_address
        socketcore.sock_close(id)
        repeat until rtos.receive(10000).id == rtos.MSG_SOCK_CLOSE_CNF
        socketcore.sock_destroy(id)
        return message, took
    end
    local function look_as_libc(name)
        local start = luasocket.gettime()
        local found = luasocket.dns.getaddrinfo(name)
        return found, (luasocket.gettime() - start) * 1000
    end
]]

describe("a name of several servers #netns", function()
    if not h.netns then
        pending "needs a network namespace"
        return
    end
    before_each(h.begin)
    teardown(h.finish_file)

    local server
    local before = h.slurp "/etc/resolv.conf"
    local options = ""

    after_each(function()
        h.write_file("/etc/resolv.conf", before)
        if server then
            h.stop(server)
            server = nil
        end
        options = ""
        h.finish()
    end)

    -- Starts servers ("127.0.1.1=answer") and names all in resolv.conf; "dead" is none at all.
    local function serve(...)
        local words, lines = { options }, {}
        for _, word in ipairs { ... } do
            local address, behaviour = word:match "^(.-)=(.*)$"
            lines[#lines + 1] = "nameserver " .. address .. "\n"
            if behaviour ~= "dead" then
                words[#words + 1] = h.quote(word)
            end
        end
        h.write_file("/etc/resolv.conf", table.concat(lines))
        if #words > 1 then
            server = h.spawn(("%s %s %s"):format(h.interpreter, h.quote(script),
                table.concat(words, " ")))
            assert.equal("ready", h.first_line(server))
        end
    end

    -- Runs `text` with PREFIX. Returns its lines.
    local function run(text, seconds)
        local printed, status = h.run_lua(PREFIX .. text .. "\nos.exit(0)\n", seconds)
        assert.equal(0, status, printed)
        local lines = {}
        for line in printed:gmatch "[^\n]+" do
            lines[#lines + 1] = line
        end
        return lines
    end

    -- Looks `name` up. Returns result, error, reason and milliseconds.
    local function look(name)
        local line = run(([[
            local m, took = look(%q)
            print(m.result, m.error, math.floor(took), m.reason)
        ]]):format(name), 60)[1]
        local result, err, took, reason = line:match "^(%S+)\t(%S+)\t(%S+)\t(.*)$"
        return tonumber(result), tonumber(err), reason, tonumber(took)
    end

    local function finds(name, most_ms)
        local result, _, reason, took = look(name)
        assert.equal(0, result, reason)
        assert.is_true(took < most_ms, took)
    end

    -- The queries that came over UDP: { server =, port =, id =, type =, name = }.
    local function queries()
        local list = {}
        for line in h.slurp(server.log):gmatch "[^\n]+" do
            local address, port, id, type, name = line:match "^(%S+) (%d+) (%d+) (%d+) (%S+)$"
            if address then
                list[#list + 1] = { server = address, port = tonumber(port), id = tonumber(id),
                    type = tonumber(type), name = name }
            end
        end
        return list
    end

    describe("is found when the first one", function()
        for _, behaviour in ipairs { "dead", "refused", "servfail", "notimp", "formerr", "lame" } do
            it("is " .. behaviour .. ", at once", function()
                serve("127.0.1.1=" .. behaviour, "127.0.1.2=answer")
                finds("one.zone", 800)
                finds("six.zone", 800)
            end)
        end

        it("is silent, after a second", function()
            serve("127.0.1.1=silent", "127.0.1.2=answer")
            finds("one.zone", 1900)
        end)

        it("and the second one are dead and silent, with all its addresses", function()
            serve("127.0.1.1=dead", "127.0.1.2=silent", "127.0.1.3=answer")
            local line = run(([[
                local m = look("two.zone", 0, %d)
                print(m.result, m.address)
            ]]):format(h.port.ipv4))[1]
            assert.equal("0\t127.0.0.1", line)
        end)

        it("is dead, over IPv6 too", function()
            serve("::1=dead", "127.0.1.2=answer")
            finds("one.zone", 800)
        end)

        it("cannot be reached", function()
            serve("198.51.100.1=dead", "127.0.1.2=answer")
            finds("one.zone", 800)
        end)

        it("answers late, from it", function()
            serve("127.0.1.1=answer:1500", "127.0.1.2=silent")
            finds("one.zone", 2500)
        end)

        it("loses a packet, from the same", function()
            serve "127.0.1.1=once"
            finds("one.zone", 1900)
        end)

        it("never answers for IPv6, without waiting for that", function()
            serve "127.0.1.1=no-ip6"
            finds("one.zone", 800)
        end)

        it("fails for IPv6 only, without waiting for that", function()
            serve("127.0.1.1=fail-ip6", "127.0.1.2=silent")
            finds("one.zone", 800)
        end)

        it("is sent forged answers", function()
            serve "127.0.1.1=forge"
            finds("one.zone", 800)
        end)
    end)

    it("that nobody answers for is given up in the end", function()
        serve "127.0.1.1=silent"
        local result, err, reason, took = look "one.zone"
        assert.equal(1, result)
        assert.equal(sc.ERR_ETIMEOUT, err)
        assert.matches("^dns: no answer", reason)
        -- The C library takes 10 s.
        assert.is_true(took < 12000, took)
    end)

    it("is asked of the server that answered last", function()
        serve("127.0.1.1=silent", "127.0.1.2=answer")
        local lines = run [[
            print((select(2, look "one.zone")))
            print((select(2, look "two.zone")))
            print((select(2, look "six.zone")))
        ]]
        assert.is_true(tonumber(lines[1]) >= 900, lines[1])
        assert.is_true(tonumber(lines[2]) < 800, lines[2])
        assert.is_true(tonumber(lines[3]) < 800, lines[3])
    end)

    it("that does not exist is told as that, whoever says it", function()
        serve("127.0.1.1=dead", "127.0.1.2=refused", "127.0.1.3=answer")
        local result, err, reason, took = look "nowhere.zone"
        assert.equal(1, result)
        assert.equal(sc.ERR_EINVAL, err)
        assert.matches("^dns: name not found", reason)
        assert.is_true(took < 800, took)
    end)

    it("without addresses is told as that", function()
        serve "127.0.1.1=answer"
        local _, err, reason = look "empty.zone"
        assert.equal(sc.ERR_EINVAL, err)
        assert.matches("^dns: the name has no address", reason)
    end)

    it("that nobody answers for is not told as one that does not exist", function()
        for _, behaviour in ipairs { "dead", "refused", "servfail" } do
            serve("127.0.1.1=" .. behaviour, "127.0.1.2=dead")
            local result, err, reason, took = look "one.zone"
            assert.equal(1, result)
            assert.equal(sc.ERR_ETIMEOUT, err)
            assert.matches("^dns: no DNS server", reason)
            assert.is_true(took < 800, took)
            if server then
                h.stop(server)
                server = nil
            end
        end
    end)

    it("has the rest of a cut answer asked for over TCP", function()
        for _, behaviour in ipairs { "cut", "cut:20", "answer" } do
            serve("127.0.1.1=" .. behaviour)
            for _, name in ipairs { "one.zone", "chain.zone", "many.zone", "six.zone" } do
                finds(name, 800)
            end
            local _, err = look "nowhere.zone"
            assert.equal(sc.ERR_EINVAL, err)
            assert.matches("tcp 1 many.zone", h.slurp(server.log))
            h.stop(server)
            server = nil
        end
    end)

    it("whose cut answer cannot be completed goes by what is there", function()
        serve "127.0.1.1=cut-refused"
        finds("one.zone", 800)
        h.stop(server)
        serve "127.0.1.1=cut-silent"
        finds("one.zone", 1900)
    end)

    it("is asked for with ids and ports that nobody can guess", function()
        serve "127.0.1.1=answer"
        run [[ for i = 1, 20 do look("any" .. i .. ".zone") end ]]
        local list = queries()
        assert.equal(40, #list)
        for _, field in ipairs { "port", "id" } do
            local seen, near, different = {}, 0, 0
            for i, query in ipairs(list) do
                different = different + (seen[query[field]] and 0 or 1)
                seen[query[field]] = true
                local last = list[i - 1]
                near = near + (last and math.abs(query[field] - last[field]) < 64 and 1 or 0)
            end
            assert.is_true(different >= 38, field)
            assert.is_true(near < 8, field)
        end
    end)

    it("is kept for as long as its server says", function()
        options = "--keep"
        serve "127.0.1.1=answer"
        run [[ for _ = 1, 5 do look "one.zone" end look "nowhere.zone" look "nowhere.zone" ]]
        local count = { ["one.zone"] = 0, ["nowhere.zone"] = 0 }
        for _, query in ipairs(queries()) do
            count[query.name] = count[query.name] + 1
        end
        assert.is_true(count["one.zone"] <= 2, count["one.zone"])
        assert.equal(4, count["nowhere.zone"])
    end)

    it("that was kept is asked for again when no address of it connects", function()
        options = "--keep"
        serve "127.0.1.1=answer"
        run(([[
            assert(look("one.zone", 1).result == 0)
            assert(look("one.zone", 0, %d).error == socketcore.ERR_ERST)
        ]]):format(h.port.refused))
        local count = 0
        for _, query in ipairs(queries()) do
            count = count + (query.type == 1 and 1 or 0)
        end
        assert.equal(2, count)
    end)

    it("is looked up 500 times at once", function()
        serve "127.0.1.1=answer:20"
        local line = run([[
            local left, ok = 0, 0
            for i = 1, 500 do
                assert(socketcore.sock_conn(1, "any" .. i .. ".zone", 9))
                left = left + 1
            end
            while left > 0 do
                local message = rtos.receive(10000)
                left, ok = left - 1, ok + (message.result == 0 and 1 or 0)
            end
            print(ok)
        ]])[1]
        assert.equal("500", line)
    end)

    it("is sent for at once by a process that has not slept yet", function()
        serve "127.0.1.1=answer:20"
        for _ = 1, 3 do
            finds("one.zone", 500)
        end
    end)

    it("and a datagram too", function()
        serve "127.0.1.1=answer:20"
        local line = run [[
            local id = assert(socketcore.sock_conn(1, "127.0.1.1", 53))
            assert(rtos.receive(5000).id == rtos.MSG_SOCK_CONN_CNF)
            socketcore.sock_send(id, "\0\1\1\0\0\1\0\0\0\0\0\0\3any\0\0\1\0\1")
            local message
            repeat
                message = rtos.receive(2000)
            until type(message) ~= "table" or message.id == rtos.MSG_SOCK_RECV_IND
            print(type(message) == "table" and message.recv_len)
        ]]
        assert.equal("37", line[1])
    end)

    -- { servers, name }: the best of three, each in a process of its own.
    local rows = {
        ["one answers"] = { { "127.0.1.1=answer:20" }, "one.zone" },
        ["the first is dead"] = { { "127.0.1.1=dead", "127.0.1.2=answer:20" }, "one.zone" },
        ["two are dead"] = { { "127.0.1.1=dead", "127.0.1.2=dead", "127.0.1.3=answer:20" },
            "one.zone" },
        ["the first refuses"] = { { "127.0.1.1=refused:20", "127.0.1.2=answer:20" }, "one.zone" },
        ["the first fails"] = { { "127.0.1.1=servfail:20", "127.0.1.2=answer:20" }, "one.zone" },
        ["dead and failing"] = { { "127.0.1.1=dead", "127.0.1.2=servfail:20",
            "127.0.1.3=answer:20" }, "two.zone" },
        ["it does not exist"] = { { "127.0.1.1=dead", "127.0.1.2=answer:20" }, "nowhere.zone" },
        ["it has no address"] = { { "127.0.1.1=answer:20" }, "empty.zone" },
        ["it has two addresses"] = { { "127.0.1.1=refused:20", "127.0.1.2=answer:20" },
            "two.zone" },
        ["it is a chain of names"] = { { "127.0.1.1=answer:20" }, "chain.zone" },
        ["it has IPv6 only"] = { { "127.0.1.1=refused:20", "127.0.1.2=answer:20" }, "six.zone" },
        ["it has both"] = { { "127.0.1.1=answer:20" }, "both.zone" },
        ["its answer is cut"] = { { "127.0.1.1=cut:20" }, "one.zone" },
        ["all fail"] = { { "127.0.1.1=servfail:20", "127.0.1.2=servfail:20" }, "one.zone" },
        ["all are dead"] = { { "127.0.1.1=dead", "127.0.1.2=dead" }, "one.zone" },
        ["the first is silent"] = { { "127.0.1.1=silent", "127.0.1.2=answer:20" }, "one.zone",
            1 },
    }
    local SLACK_MS = h.sanitized and 500 or 60 -- what a busy machine adds to either

    for title, row in pairs(rows) do
        it("takes no longer than with the C library when " .. title, function()
            serve((table.unpack or unpack)(row[1])) -- luacheck: ignore
            local ours, theirs = math.huge, math.huge
            for _ = 1, row[3] or 3 do
                local lines = run(([[
                    print((select(2, look(%q))))
                    print((select(2, look_as_libc(%q))))
                ]]):format(row[2], row[2]))
                ours = math.min(ours, tonumber(lines[1]))
                theirs = math.min(theirs, tonumber(lines[2]))
            end
            assert.is_true(ours <= 1.2 * theirs + SLACK_MS, ("%.1f ms, the C library %.1f ms")
                :format(ours, theirs))
        end)
    end
end)
