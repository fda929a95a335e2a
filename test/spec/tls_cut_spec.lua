-- A handshake that is cut in the server's flight. nginx is the server, tls_cut.c the knife; the
-- name that each socket sends says after how many bytes to cut. RSA, because its signatures all
-- have the same length. SC_TEST_ALL=1 is silent, too, after every byte.
-- SPDX-License-Identifier: MIT
local luasocket = require "socket.core"
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"
local sc = h.sc

local function is_installed(program)
    local out = io.popen("PATH=$PATH:/usr/sbin:/sbin command -v " .. program)
    local path = out:read "*l"
    out:close()
    return path
end

local ALL = os.getenv "SC_TEST_ALL" == "1"
local STRIDE = ALL and 1 or h.sanitized and 37 or 1
local SILENT_STRIDE = ALL and 1 or h.sanitized and 37 or 5

-- Silence: how many sockets at a time, and for how long.
local WIDTH = h.sanitized and 60 or 400
local TIME_OUT = h.sanitized and 8000 or 2500

local CONFIG = [[
    daemon off; master_process off; pid DIR/pid; error_log stderr crit;
    events { worker_connections 4000; }
    http {
        access_log off; client_body_temp_path DIR/body; proxy_temp_path DIR/proxy;
        fastcgi_temp_path DIR/f; uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;
        ssl_certificate CERT; ssl_certificate_key KEY;
        server { listen 127.0.0.1:PORT12 ssl backlog=1000; ssl_protocols TLSv1.2; }
        server { listen 127.0.0.1:PORT13 ssl backlog=1000; ssl_protocols TLSv1.3; }
    }]]

describe("a TLS handshake that is cut", function()
    local program = is_installed "nginx"
    if not program or not pki.available then
        pending "nginx or openssl is not installed"
        return
    end

    local directory, nginx, relay, ports, port, control, warm_up

    setup(function()
        tls.begin_file()
        local server = pki.server "rsa2048"
        directory = h.directory()
        ports = { ["1.2"] = h.free_port(), ["1.3"] = h.free_port() }
        h.write_file(directory .. "/nginx.conf", (CONFIG:gsub("DIR", directory)
            :gsub("CERT", server.chain):gsub("KEY", server.key)
            :gsub("PORT12", ports["1.2"]):gsub("PORT13", ports["1.3"])))
        nginx = h.spawn(("%s -p %s -c %s/nginx.conf"):format(program, directory, directory))
        relay = h.spawn(h.program "tls_cut")
        local relay_port, control_port = h.first_line(relay):match "port=(%d+) control=(%d+)"
        port = tonumber(relay_port)
        control = assert(luasocket.tcp())
        assert(control:connect("127.0.0.1", tonumber(control_port)))
        control:settimeout(10)
        h.wait_listening(ports["1.2"])
        h.wait_listening(ports["1.3"])
        warm_up()
    end)
    teardown(function()
        control:close()
        h.stop(relay)
        h.stop(nginx)
        os.execute("rm -rf " .. directory)
        tls.finish_file()
    end)
    before_each(h.begin)
    after_each(tls.finish)

    -- cuts, first, all: see tls_cut.c.
    local function ask()
        assert(control:send "?\n")
        local line = assert(control:receive "*l")
        local cuts, first, all = line:match "^cuts=(%d+) first=(%d+) all=(%d+)$"
        return tonumber(cuts), tonumber(first), tonumber(all)
    end

    -- The certificate must be good, only the name may be any.
    local function start(mode, cut, version)
        local name = ("%s-%d-%d.cut"):format(mode, cut, ports[version])
        local id, _, reason = sc.sock_conn(h.SSL, "127.0.0.1", port,
            { caCert = pki.root().pem, hostName = name, resume = false }, nil, 1)
        return assert(id, reason)
    end

    local function connects(version)
        local id = start("all", 0, version)
        local message = h.wait_for(id, h.CONN_CNF)
        assert(message.result == 0, message.reason)
        local tls_version = sc.sock_info(id).tls_version
        h.close(id)
        return tls_version
    end

    -- How long the flight is: with TLS 1.2 up to the server's Finished, with 1.3 what comes before
    -- the client's Finished, all later is tickets.
    local function measure(version)
        ask()
        connects(version)
        local _, first, all = ask()
        return version == "1.2" and all or first
    end

    -- Cuts at each of `cuts`, `width` sockets at a time. Returns the reasons with how often.
    local function cut_all(mode, version, cuts, width, check)
        local reasons, under_way, count, at = {}, {}, 0, 0
        ask()
        while at < #cuts or count > 0 do
            while at < #cuts and count < width do
                at = at + 1
                under_way[start(mode, cuts[at], version)] = cuts[at]
                count = count + 1
            end
            local message = h.next()
            assert(message, "no message in time")
            local cut = under_way[message.socket_index]
            assert(cut, "a message of an unknown socket")
            assert(message.id == h.CONN_CNF and message.result == 1,
                ("cut at %d: %s"):format(cut, h.history(message.socket_index)))
            check(message, cut)
            reasons[message.reason] = (reasons[message.reason] or 0) + 1
            assert(h.history(message.socket_index) == "CONN_CNF!")
            assert(sc.sock_destroy(message.socket_index) == 1)
            under_way[message.socket_index] = nil
            count = count - 1
        end
        -- The relay has come to every cut, nothing failed for another reason before.
        assert.equal(#cuts, (ask()))
        return reasons
    end

    -- mbedTLS keeps the table of keys that so many connections at once need.
    function warm_up()
        sc.config { connect_timeout_ms = TIME_OUT }
        local cuts = {}
        for i = 1, WIDTH do
            cuts[i] = 300
        end
        cut_all("hold", "1.3", cuts, WIDTH, function() end)
        h.finish()
        h.note_memory()
    end

    -- Every `stride`th byte, and each of the first and the last ones.
    local function cuts_of(length, stride)
        local cuts = {}
        for cut = 0, length - 1 do
            if cut % stride == 0 or cut < 8 or cut > length - 8 then
                cuts[#cuts + 1] = cut
            end
        end
        return cuts
    end

    for _, version in ipairs { "1.2", "1.3" } do
        it(version .. " by FIN at any byte from the server is one failed CONN_CNF", function()
            local length = measure(version)
            assert.is_true(length > 1000)
            local cuts = cuts_of(length, STRIDE)
            local reasons = cut_all("fin", version, cuts, 20, function(message, cut)
                if message.error ~= sc.ERR_ECLSD
                    or not message.reason:find "^tls: .*closed by the peer" then
                    error(("FIN at %d: error %d, %s"):format(cut, message.error, message.reason))
                end
            end)
            assert.is_truthy(next(reasons))
            connects(version)
        end)

        -- Behind the NAT a reset that follows data may arrive as a FIN.
        it(version .. " by RST at any byte from the server is one failed CONN_CNF", function()
            local cuts = cuts_of(measure(version), STRIDE)
            local reasons = cut_all("rst", version, cuts, 20, function(message, cut)
                local is_closed = message.error == sc.ERR_ECLSD
                    and message.reason:find "^tls: .*closed by the peer"
                local is_reset = message.error == sc.ERR_ERST and message.reason:find "reset"
                    and message.reason:find "TLS handshake"
                if not is_closed and not is_reset then
                    error(("RST at %d: error %d, %s"):format(cut, message.error, message.reason))
                end
            end)
            assert.is_truthy(next(reasons))
            connects(version)
        end)

        it(version .. " by silence at any byte from the server ends by the time-out", function()
            local length = measure(version)
            sc.config { connect_timeout_ms = TIME_OUT }
            local cuts = cuts_of(length, SILENT_STRIDE)
            local reasons = cut_all("hold", version, cuts, WIDTH, function(message, cut)
                if message.error ~= sc.ERR_ETIMEOUT or not message.reason:find "^tls: " then
                    error(("silence at %d: %s"):format(cut, message.reason))
                end
            end)
            assert.is_truthy(next(reasons))
            connects(version)
        end)

        it(version .. " by the script at any moment leaves nothing", function()
            for wait = 0, 30 do
                local id = start("all", 0, version)
                h.pump(wait % 10)
                h.close(id)
            end
            connects(version)
        end)
    end

    it("not at all connects with the version that was asked for", function()
        assert.equal("TLSv1.2", connects "1.2")
        assert.equal("TLSv1.3", connects "1.3")
    end)
end)
