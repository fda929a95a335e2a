-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"

describe("a process that ends while its data is under way", function()
    before_each(h.begin)
    after_each(h.finish)

    -- Sends `size` bytes of the pattern from a process of its own that then does `rest`, and
    -- returns what the peer, who behaves as `script` says, got in the end.
    local function send_and_end(script, size, rest)
        local tag = h.tag()
        local printed, status = h.run_lua(([[
            package.path = "./?.lua;" .. package.path
            require "socketcore" require "rtos"
            local function pattern(length)
                local bytes, x = {}, 1
                for i = 1, 65521 do
                    x = (x * 171 + 11213) %% 53125
                    bytes[i] = string.char(x %% 256)
                end
                return table.concat(bytes):rep(math.floor(length / 65521) + 1):sub(1, length)
            end
            local id = assert(socketcore.sock_conn(0, "127.0.0.1", %d))
            local function wait_for(message)
                repeat
                    local got = rtos.receive(10000)
                    assert(type(got) == "table", "no message came")
                until got.id == message
            end
            wait_for(rtos.MSG_SOCK_CONN_CNF)
            assert(socketcore.sock_send(id, "%s %s\n") == 1)
            assert(socketcore.sock_send(id, pattern(%d)) == 1)
            %s
        ]]):format(h.port.script, tag, script, size, rest))
        assert.equal("", printed)
        assert.equal(0, status)
        return h.wait_stat(tag, function(s) return s["end"] ~= "open" end)
    end

    local ends = {
        ["right after sock_close, with os.exit"] = "socketcore.sock_close(id) os.exit(0)",
        ["right after sock_close, at the end of the script"] = "socketcore.sock_close(id)",
        ["without sock_close, with os.exit"] = "os.exit(0)",
        ["without sock_close, at the end of the script"] = "",
    }
    for how, rest in pairs(ends) do
        it(how .. " has lost nothing", function()
            for _, size in ipairs { 1, 300000, 1000000 } do
                local stat = send_and_end("", size, rest)
                assert.equal(size, stat.rx)
                assert.equal(1, stat.match)
                assert.equal("fin", stat["end"])
            end
        end)
    end

    -- A kernel that closes a socket with unread input sends a reset, and drops its own output.
    it("has lost nothing though the peer sent much that nobody read", function()
        local closed = "socketcore.sock_close(id) wait_for(rtos.MSG_SOCK_CLOSE_CNF) os.exit(0)"
        for _, rest in ipairs { closed, "socketcore.sock_close(id) os.exit(0)", "os.exit(0)" } do
            local peer = "send:200000 rcvbuf:65536 noread wait:300 doread"
            local stat = send_and_end(peer, 600000, rest)
            assert.equal(600000, stat.rx)
            assert.equal(1, stat.match)
        end
    end)

    it("waits no longer than linger_ms for a peer that never reads", function()
        local start = h.now()
        send_and_end("rcvbuf:65536 noread wait:2500 doread", 900000,
            "socketcore.config { linger_ms = 1000 } os.exit(0)")
        assert.is_true(h.elapsed(start) < (h.sanitized and 15000 or 6000), h.elapsed(start))
    end)
end)
