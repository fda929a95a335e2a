--- The bench's LuaSec side: OpenSSL on LuaSocket's blocking sockets. See measure.lua.
--
-- SPDX-License-Identifier: MIT

package.path = arg[0]:match("^(.*)/") .. "/?.lua;" .. package.path
local measure = require "measure"
local blocking = require "blocking"
local luasocket = require "socket"
local ssl = require "ssl"

local options = measure.options

local context = assert(ssl.newcontext({
    mode = "client", protocol = "any", options = "all", verify = "peer", cafile = options.ca,
}))

local function connect()
    local plain = assert(luasocket.tcp())
    plain:settimeout(measure.TIMEOUT)
    assert(plain:connect("127.0.0.1", options.tcp))
    assert(plain:setoption("tcp-nodelay", true))
    local client = assert(ssl.wrap(plain, context))
    client:settimeout(measure.TIMEOUT)
    assert(client:dohandshake())
    return client
end

local on_tls = blocking.figures(connect)
local work = {
    tls_full = on_tls.connect,
    tls_send = on_tls.send,
    tls_send8 = on_tls.send8,
    tls_receive = on_tls.receive,
}

-- LuaSec does not resume: a full handshake each.
function work.tls_resume(n)
    measure.begin(luasocket.gettime)
    for _ = 1, n do
        local client = connect()
        assert(client:send("source 1\n"))
        assert(client:receive(1))
        client:close()
    end
    measure.finish()
end

measure.run(work)
