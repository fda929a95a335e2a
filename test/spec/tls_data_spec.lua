-- Bytes through TLS: sizes, records, order, back-pressure, and how it ends.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

local MB = 1024 * 1024

for _, version in ipairs { "1.2", "1.3" } do
    describe("data over TLS " .. version, function()
        local server

        setup(function()
            tls.begin_file()
            server = tls.peer { cert = pki.server(), args = "--tls " .. version, keep = true }
        end)
        before_each(function()
            h.begin()
            h.sc.config { close_grace_ms = 0 }
        end)
        after_each(tls.finish)
        teardown(tls.finish_file)

        local function open(script, ...)
            return tls.open_script(server, script:format(...))
        end

        it("is sent whole, whatever the length of the send", function()
            for _, length in ipairs { 1, 2, 100, 11200, 16383, 16384, 16385, 32768, 65536,
                200001 } do
                local id = open("read:%d", length)
                h.send(id, h.pattern(length))
                assert.equal("ok", h.read(id, 2))
                h.close(id)
            end
        end)

        it("is received whole, whatever the sizes of the records", function()
            for _, size in ipairs { 1, 2, 100, 2047, 2048, 2049, 4096, 11200, 16383, 16384,
                40000 } do
                local total = size < 100 and 3000 or 100000
                local id = open("records:%d:%d", total, size)
                h.read_pattern(id, total)
                h.close(id)
            end
        end)

        it("is received whole, wherever TCP cuts the records", function()
            for _, size in ipairs { 1, 3, 5, 100, 1460 } do
                local total = size < 5 and 300 or 20000
                local id = open("split:%d:%d", total, size)
                h.read_pattern(id, total)
                h.close(id)
            end
        end)

        it("of 1 MB goes in each direction", function()
            local id = open("read:%d send:%d", MB, MB)
            h.send_pattern(id, MB)
            assert.is_true(h.read(id, MB + 2) == "ok" .. h.pattern(MB))
        end)

        it("of 1 MB goes in both directions at once", function()
            local id = open "echo"
            local sent, confirmed, got = 0, 0, 0
            while got < MB do
                while sent < MB and sent - confirmed < 65536 do
                    assert.equal(1, (h.sc.sock_send(id, h.pattern(11200, sent))))
                    sent = sent + 11200
                end
                local message = h.wait_for(id)
                if message.id == h.SEND_CNF then
                    confirmed = confirmed + message.send_len
                else
                    assert.equal(h.RECV_IND, message.id)
                    local data = h.sc.sock_recv(id, message.recv_len)
                    assert.is_true(data == h.pattern(#data, got))
                    got = got + #data
                end
            end
        end)

        it("that waits inside mbedTLS is always announced", function()
            -- One record, announced in pieces of 2048 at most; no further TCP segment comes.
            local id = open "records:16384:16384 end"
            h.read_pattern(id, 16384)
            -- Many records in one segment, read by small pieces.
            local other = open "records:200:1 end"
            local got = 0
            while got < 200 do
                local message = h.wait_for(other, h.RECV_IND)
                local data = h.sc.sock_recv(other, math.min(7, message.recv_len))
                assert.is_true(data == h.pattern(#data, got))
                got = got + #data
            end
            h.expect_silence(50)
        end)

        it("is announced with at most 2048 bytes, and what is left again", function()
            local id = open "records:20000:16384 end"
            local message = h.wait_for(id, h.RECV_IND)
            h.pump(100)
            assert.is_true(message.recv_len <= 2048)
            local got = 0
            repeat
                local data = h.sc.sock_recv(id, 500)
                assert.is_true(data == h.pattern(#data, got))
                got = got + #data
                if got < 20000 then
                    message = h.wait_for(id, h.RECV_IND)
                    assert.is_true(message.recv_len <= 2048)
                end
            until got == 20000
        end)

        it("of several sends is confirmed in their order, with their lengths", function()
            local lengths = { 1, 20000, 5, 65536, 11200, 3 }
            local total = 0
            for _, length in ipairs(lengths) do
                total = total + length
            end
            local id = open("read:%d end", total)
            local offset = 0
            for _, length in ipairs(lengths) do
                assert.equal(1, (h.sc.sock_send(id, h.pattern(length, offset))))
                offset = offset + length
            end
            for _, length in ipairs(lengths) do
                local message = h.wait_for(id, h.SEND_CNF)
                assert.equal(0, message.result)
                assert.equal(length, message.send_len)
            end
            assert.equal("ok", h.read(id, 2))
        end)

        it("is not confirmed before the peer's TCP has it", function()
            local go = pki.path "go"
            local slow = tls.peer { cert = pki.server(), args = "--tls " .. version, go = go,
                small = true }
            local id = tls.open_script(slow, "wait read:700000 end")
            for i = 0, 6 do
                assert.equal(1, (h.sc.sock_send(id, h.pattern(100000, i * 100000))))
            end
            h.pump(300)
            assert.is_true(h.count(id, "SEND_CNF") < 7, "confirmed what the peer cannot have")
            h.write_file(go, "")
            h.wait_until(function() return h.count(id, "SEND_CNF") == 8 end, "all SEND_CNF")
            assert.equal("ok", h.read(id, 2))
        end)

        it("that the peer does not read fills the send buffer, then sock_send refuses", function()
            local go = pki.path "go"
            local slow = tls.peer { cert = pki.server(), args = "--tls " .. version, go = go,
                small = true }
            local id = tls.open_script(slow, "wait end")
            h.sc.config { send_buffer = 200000 }
            local before, taken = h.rtos.memory(), 0
            local refused
            for _ = 1, 400 do
                local ok, err = h.sc.sock_send(id, h.pattern(50000))
                if ok ~= 1 then
                    refused = err
                    break
                end
                taken = taken + 50000
                h.pump(3)
            end
            assert.equal(h.sc.ERR_ENOBUFS, refused)
            assert.is_true(h.sc.sock_getremainbuf(id) < 50000)
            assert.is_true(h.rtos.memory() - before < 700000, h.rtos.memory() - before)
            h.write_file(go, "")
            h.wait_until(function() return h.count(id, "SEND_CNF") == taken / 50000 + 2 end,
                "SEND_CNFs")
        end)

        it("that the script does not read holds the peer back, with bounded memory", function()
            local id = open("send:%d end", 8 * MB)
            h.wait_for(id, h.RECV_IND)
            local before = h.rtos.memory()
            h.pump(500)
            local info = h.sc.sock_info(id)
            assert.is_true(info.bytes_in < MB, info.bytes_in)
            assert.is_true(h.rtos.memory() - before < MB, h.rtos.memory() - before)
            local first = h.sc.sock_recv(id, 2048)
            h.read_pattern(id, 8 * MB - #first, #first)
        end)

        it("that came before close_notify is read before CLOSE_IND, a clean one", function()
            local id = open "send:50000 notify close"
            local data, message = h.read_to_end(id)
            assert.is_true(data == h.pattern(50000))
            assert.matches("^closed by the peer", message.reason)
            assert.is_nil(message.reason:find "close_notify")
        end)

        it("that was cut off by FIN without close_notify is told apart", function()
            local id = open "send:50000 fin end"
            local data, message = h.read_to_end(id)
            assert.is_true(data == h.pattern(50000))
            assert.matches("without close_notify", message.reason)
        end)

        it("that ends with the connection's reset is told apart", function()
            local id = open "send:100 pause:50 reset"
            local data, message = h.read_to_end(id)
            assert.is_true(data == h.pattern(100))
            assert.equal(h.sc.ERR_ERST, message.error)
            assert.is_nil(message.reason:find "close_notify")
        end)

        it("that is sent right before sock_close arrives, then close_notify, then FIN", function()
            local go = pki.path "go"
            local other = tls.peer { cert = pki.server(), args = "--tls " .. version, go = go }
            local id = tls.open_script(other, "read:300000 end")
            for i = 0, 2 do
                assert.equal(1, (h.sc.sock_send(id, h.pattern(100000, i * 100000))))
            end
            assert.equal(1, h.sc.sock_close(id))
            h.wait_for(id, h.CLOSE_CNF)
            other:wait "read good\n.*end notify\n"
            assert.equal(4, h.count(id, "SEND_CNF"))
        end)

        it("that is no record ends the connection with a reason of its own", function()
            local id = open "send:10 pause:30 garbage end"
            local data, message = h.read_to_end(id)
            assert.equal(10, #data)
            assert.matches("^tls: what the server sends is not TLS", message.reason)
        end)

        it("that was forged ends the connection with a reason of its own", function()
            local id = open "send:10 pause:30 forge end"
            local data, message = h.read_to_end(id)
            assert.equal(10, #data)
            assert.matches("^tls: a record was damaged or forged", message.reason)
        end)

        it("goes on after the peer's close_notify is refused, nothing more comes", function()
            local id = open "notify end"
            local message = h.wait_for(id, h.CLOSE_IND)
            assert.matches("closed by the peer", message.reason)
            assert.equal(0, (h.sc.sock_send(id, "x")))
            h.expect_silence(50)
        end)

        it("of other connections goes on beside a failed one", function()
            local good = open "echo"
            local bad = open "send:10 pause:30 forge end"
            h.read_to_end(bad)
            h.send(good, h.pattern(5000))
            h.read_pattern(good, 5000)
        end)
    end)
end

describe("in the middle of data", function()
    setup(tls.begin_file)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    it("tickets of TLS 1.3 are taken, while sending and while receiving", function()
        local server = tls.peer { cert = pki.server(), args = "--tls 1.3 --late-tickets" }
        local id = tls.open_script(server, "read:200000 send:200000 end")
        h.send_pattern(id, 200000)
        assert.is_true(h.read(id, 200002) == "ok" .. h.pattern(200000))
    end)

    it("new keys of TLS 1.3, which mbedTLS cannot take, end it with a reason", function()
        local server = tls.openssl { cert = pki.server(), args = "-tls1_3", mode = "" }
        local id = tls.open(server, { caCert = pki.root().pem, hostName = "localhost" })
        server:write "before\n"
        assert.equal("before\n", h.read(id, 7))
        server:write "k\n"
        local message = h.wait_for(id, h.CLOSE_IND)
        assert.matches("^tls: ", message.reason)
    end)

    it("a renegotiation of TLS 1.2 is refused, and the connection says why it ended", function()
        local server = tls.openssl { cert = pki.server(), args = "-tls1_2", mode = "" }
        local id = tls.open(server, { caCert = pki.root().pem, hostName = "localhost" })
        server:write "before\n"
        assert.equal("before\n", h.read(id, 7))
        server:write "r\n"
        local message = h.wait_for(id, h.CLOSE_IND)
        assert.matches("handshake_failure", message.reason)
        assert.matches("no renegotiation", server:output())
    end)
end)
