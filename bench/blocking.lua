--- What the two sides with blocking sockets do, LuaSocket and LuaSec: the same on each.
--
-- SPDX-License-Identifier: MIT

local measure = require "measure"
local now = require("socket").gettime

local blocking = {}

--- The figures of bulk and round trips on what `connect` returns, a connected client.
function blocking.figures(connect)
    local work = {}

    function work.send(n)
        local piece = string.rep("x", measure.size)
        local client = connect()
        assert(client:send("sink " .. n * measure.size .. "\n"))
        measure.begin(now)
        for _ = 1, n do
            assert(client:send(piece))
        end
        assert(client:receive(1))
        measure.finish()
        client:close()
    end

    -- What send waits for here, the kernel's buffer, lets many be under way anyhow.
    work.send8 = work.send

    function work.receive(n)
        local client = connect()
        measure.begin(now)
        assert(client:send("source " .. n * measure.size .. "\n"))
        local got = 0
        for _ = 1, n do
            got = got + #assert(client:receive(measure.size))
        end
        measure.finish()
        assert(got == n * measure.size)
        client:close()
    end

    function work.round_trip(n)
        local data = string.rep("x", measure.size)
        local client = connect()
        assert(client:send("echo\n"))
        measure.begin(now)
        for _ = 1, n do
            assert(client:send(data))
            assert(client:receive(measure.size))
        end
        measure.finish()
        client:close()
    end

    function work.connect(n)
        measure.begin(now)
        for _ = 1, n do
            connect():close()
        end
        measure.finish()
    end

    return work
end

return blocking
