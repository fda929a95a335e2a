-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"

describe("a process that ends right after CLOSE_CNF", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    -- Sends `size` bytes of the pattern from a process of its own, closes, and exits with `exit`
    -- in the moment CLOSE_CNF arrives. Returns what the peer got.
    local function send_and_exit(script, size, exit)
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
            assert(rtos.receive(5000).id == rtos.MSG_SOCK_CONN_CNF)
            assert(socketcore.sock_send(id, "%s %s\n") == 1)
            assert(socketcore.sock_send(id, pattern(%d)) == 1)
            assert(socketcore.sock_close(id) == 1)
            local message
            repeat
                message = rtos.receive(10000)
            until message.id == rtos.MSG_SOCK_CLOSE_CNF
            %s
        ]]):format(h.port.script, tag, script, size, exit))
        assert.equal("", printed)
        assert.equal(0, status)
        return h.wait_stat(tag, function(s) return s["end"] ~= "open" end)
    end

    for _, exit in ipairs { "os.exit(0)", "return" } do
        it("with " .. exit .. " has lost nothing", function()
            for _, size in ipairs { 1, 300000, 1000000 } do
                local stat = send_and_exit("", size, exit)
                assert.equal(size, stat.rx)
                assert.equal(1, stat.match)
                assert.equal("fin", stat["end"])
            end
        end)
    end

    it("has lost nothing when the peer is slow to read", function()
        local stat = send_and_exit("rcvbuf:65536 noread wait:500 doread", 1000000, "os.exit(0)")
        assert.equal(1000000, stat.rx)
        assert.equal(1, stat.match)
    end)
end)
