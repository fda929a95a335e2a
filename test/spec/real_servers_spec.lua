-- Servers that nobody wrote for these tests: nginx and mosquitto, with data of their own.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"

local function is_installed(program)
    local path = "PATH=$PATH:/usr/sbin:/sbin command -v " .. program
    local out = io.popen(path)
    local found = out:read "*l"
    out:close()
    return found
end

describe("nginx", function()
    local program, server, directory, port = is_installed "nginx", nil, nil, nil
    if not program then
        pending "nginx is not installed"
        return
    end

    setup(function()
        directory = h.directory()
        port = h.free_port()
        h.write_file(directory .. "/page.html", h.every_byte() .. h.pattern(3000000))
        h.write_file(directory .. "/nginx.conf", ([[
            daemon off; master_process off; pid %s/pid; error_log stderr;
            events { worker_connections 600; }
            http {
                access_log off; client_body_temp_path %s/body; proxy_temp_path %s/proxy;
                fastcgi_temp_path %s/f; uwsgi_temp_path %s/u; scgi_temp_path %s/s;
                server {
                    listen 127.0.0.1:%d; root %s;
                }
            }]]):gsub("%%s", directory):format(port))
        server = h.spawn(("%s -p %s -c %s/nginx.conf"):format(program, directory, directory))
        h.wait_listening(port)
    end)
    teardown(function()
        h.stop(server)
        os.execute("rm -rf " .. directory)
        h.finish_file()
    end)
    before_each(function()
        h.begin()
        h.sc.config { close_grace_ms = 0 }
    end)
    after_each(h.finish)

    local function get(path, more)
        local id = h.open(h.TCP, "127.0.0.1", port)
        h.send(id, ("GET %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n%s\r\n"):format(path,
            more or ""))
        local answer = h.read_to_end(id)
        h.close(id)
        local head, body = answer:match "^(.-\r\n)\r\n(.*)$"
        return tonumber(head:match "^HTTP/1.1 (%d+)"), body, head
    end

    it("gives a page byte for byte", function()
        local status, body, head = get "/page.html"
        assert.equal(200, status)
        assert.equal(#body, tonumber(head:match "Content%-Length: (%d+)"))
        assert.is_true(body == h.every_byte() .. h.pattern(3000000))
    end)

    it("gives a part of a page, and says what is not there", function()
        local status, body = get("/page.html", "Range: bytes=100-299\r\n")
        assert.equal(206, status)
        assert.equal((h.every_byte() .. h.pattern(100)):sub(101, 300), body)
        assert.equal(404, (get "/nothing.html"))
    end)

    it("keeps a connection for request after request", function()
        local id = h.open(h.TCP, "127.0.0.1", port)
        for _ = 1, 20 do
            h.send(id, "HEAD /page.html HTTP/1.1\r\nHost: test\r\n\r\n")
            local head = ""
            repeat
                head = head .. h.read_announced(id)
            until head:find "\r\n\r\n"
            assert.matches("^HTTP/1.1 200", head)
        end
    end)

    it("serves 20 connections at a time", function()
        local ids = {}
        for i = 1, 20 do
            ids[i] = h.open(h.TCP, "127.0.0.1", port)
            h.send(ids[i], ("GET /page.html HTTP/1.0\r\nRange: bytes=%d-%d\r\n\r\n"):format(
                i * 1000, i * 1000 + 99999))
        end
        for i, id in ipairs(ids) do
            local answer = h.read_to_end(id)
            assert.is_true(answer:match "\r\n\r\n(.*)$" == h.pattern(100000, i * 1000 - 256))
        end
    end)
end)

describe("mosquitto", function()
    local program, broker, config, port = is_installed "mosquitto", nil, nil, nil
    if not program then
        pending "mosquitto is not installed"
        return
    end

    setup(function()
        port = h.free_port()
        config = h.temporary_name()
        h.write_file(config, ("listener %d 127.0.0.1\nallow_anonymous true\nuser root\n"):format(
            port))
        broker = h.spawn(("%s -c %s"):format(program, config))
        h.wait_listening(port)
    end)
    teardown(function()
        h.stop(broker)
        os.remove(config)
        h.finish_file()
    end)
    before_each(h.begin)
    after_each(h.finish)

    local function text(value)
        return string.char(math.floor(#value / 256), #value % 256) .. value
    end

    local function packet(first, body)
        local length, bytes = #body, ""
        repeat
            local digit = length % 128
            length = math.floor(length / 128)
            bytes = bytes .. string.char(length > 0 and digit + 128 or digit)
        until length == 0
        return string.char(first) .. bytes .. body
    end

    -- The first byte and the body of the next packet.
    local function read_packet(id)
        local first, length, factor = h.read(id, 1):byte(), 0, 1
        while true do
            local digit = h.read(id, 1):byte()
            length = length + digit % 128 * factor
            factor = factor * 128
            if digit < 128 then
                return first, h.read(id, length)
            end
        end
    end

    local function connect(name)
        local id = h.open(h.TCP, "127.0.0.1", port)
        h.send(id, packet(0x10, text "MQTT" .. "\4\2\0\60" .. text(name)))
        local first, body = read_packet(id)
        assert.equal(0x20, first)
        assert.equal("\0\0", body)
        return id
    end

    it("passes on what is published, from one connection to another", function()
        local subscriber, publisher = connect "subscriber", connect "publisher"
        h.send(subscriber, packet(0x82, "\0\1" .. text "some/topic" .. "\0"))
        local first, body = read_packet(subscriber)
        assert.equal(0x90, first)
        assert.equal("\0\1\0", body)
        for _, payload in ipairs { "", "hello", h.every_byte(), h.pattern(200000) } do
            h.send(publisher, packet(0x30, text "some/topic" .. payload))
            first, body = read_packet(subscriber)
            assert.equal(0x30, first)
            assert.is_true(body == text "some/topic" .. payload)
        end
    end)

    it("answers a ping, and closes on a disconnect", function()
        local id = connect "pinger"
        h.send(id, "\192\0")
        assert.equal(0xd0, (read_packet(id)))
        h.send(id, "\224\0")
        h.wait_for(id, h.CLOSE_IND)
    end)
end)
