--- The bench's LuaSocket side: blocking sockets over the kernel's loopback. See measure.lua.
--
-- SPDX-License-Identifier: MIT

package.path = arg[0]:match("^(.*)/") .. "/?.lua;" .. package.path
local measure = require "measure"
local blocking = require "blocking"
local luasocket = require "socket"

local options = measure.options

local function connect()
    local client = assert(luasocket.tcp())
    client:settimeout(measure.TIMEOUT)
    assert(client:connect("127.0.0.1", options.tcp))
    assert(client:setoption("tcp-nodelay", true))
    return client
end

local work = blocking.figures(connect)

function work.datagram(n)
    local data = string.rep("x", measure.size)
    local client = assert(luasocket.udp())
    client:settimeout(measure.TIMEOUT)
    assert(client:setpeername("127.0.0.1", options.udp))
    measure.begin(luasocket.gettime)
    for _ = 1, n do
        assert(client:send(data))
        assert(#assert(client:receive(measure.size)) == measure.size)
    end
    measure.finish()
    client:close()
end

local kept = {}

function work.idle(n)
    for _ = 1, n do
        kept[#kept + 1] = connect()
    end
end

measure.run(work)
