--- The bench's LuaSec side: OpenSSL on LuaSocket's blocking sockets.
--
--     lua5.1 side_luasec.lua FIGURE TCP_PORT UDP_PORT SECONDS CA_FILE
--
-- SPDX-License-Identifier: MIT

package.path = arg[0]:match("^(.*)/") .. "/?.lua;" .. package.path
local measure = require "measure"
local luasocket = require "socket"
local ssl = require "ssl"

local figure, tcp_port, seconds, ca_file = arg[1], arg[2], arg[4], arg[5]
local now = luasocket.gettime

local context = assert(ssl.newcontext({
    mode = "client", protocol = "any", options = "all", verify = "peer", cafile = ca_file,
}))

local function connect()
    local plain = assert(luasocket.tcp())
    plain:settimeout(measure.TIMEOUT)
    assert(plain:connect("127.0.0.1", tcp_port))
    assert(plain:setoption("tcp-nodelay", true))
    local client = assert(ssl.wrap(plain, context))
    client:settimeout(measure.TIMEOUT)
    assert(client:dohandshake())
    return client
end

local work = {}

function work.tls_ecdsa(n)
    local start = now()
    for _ = 1, n do
        connect():close()
    end
    return now() - start
end

work.tls_rsa = work.tls_ecdsa

-- LuaSec does not resume: a full handshake each.
function work.tls_resume(n)
    local start = now()
    for _ = 1, n do
        local client = connect()
        assert(client:send("source 1\n"))
        assert(client:receive(1))
        client:close()
    end
    return now() - start
end

function work.tls_send(n)
    local piece = string.rep("x", measure.SEND_SIZE)
    local client = connect()
    assert(client:send("sink " .. n * measure.SEND_SIZE .. "\n"))
    local start = now()
    for _ = 1, n do
        assert(client:send(piece))
    end
    assert(client:receive(1))
    local took = now() - start
    client:close()
    return took
end

-- What send waits for here, the kernel's buffer, lets many be under way anyhow.
work.tls_send8 = work.tls_send

function work.tls_receive(n)
    local client = connect()
    local start = now()
    assert(client:send("source " .. n * measure.READ_SIZE .. "\n"))
    local got = 0
    for _ = 1, n do
        got = got + #assert(client:receive(measure.READ_SIZE))
    end
    local took = now() - start
    assert(got == n * measure.READ_SIZE)
    client:close()
    return took
end

work.tls_send8_chacha, work.tls_receive_chacha = work.tls_send8, work.tls_receive

measure.run(work, figure, tonumber(seconds))
