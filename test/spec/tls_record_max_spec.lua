-- tls_record_max: with a server that agrees a connection takes less memory; one that takes no
-- notice of it is served all the same.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

local deaf = (os.getenv "SC_ROOT" or ".") .. "/build/release/test/ssl_server2"

describe("tls_record_max", function()
    local cert

    setup(function()
        tls.begin_file()
        cert = { caCert = pki.root().pem, hostName = "localhost" }
    end)
    before_each(h.begin)
    after_each(function()
        h.sc.config { tls_record_max = 0 }
        tls.finish()
    end)
    teardown(tls.finish_file)

    local function memory()
        local least = h.rtos.memory()
        for _ = 1, 20 do
            h.pump(10)
            least = math.min(least, h.rtos.memory())
        end
        return least
    end

    -- Bytes that each of ten connections takes while it is up.
    local function memory_of_each(server)
        h.close(tls.open(server, cert))
        local before, ids = memory(), {}
        for i = 1, 10 do
            ids[i] = tls.open(server, cert)
        end
        local each = (memory() - before) / 10
        for _, id in ipairs(ids) do
            h.close(id)
        end
        return each
    end

    it("shrinks the buffers with a server that agrees, and all data arrives", function()
        local server = tls.peer { cert = pki.server(), args = "--tls 1.2" }
        local usual = memory_of_each(server)
        h.sc.config { tls_record_max = 2048 }
        local small = memory_of_each(server)
        assert.is_true(small < usual - 25000, ("%.0f bytes, %.0f without it"):format(small, usual))
        local id = tls.open(server, cert)
        h.send(id, "send:100000 end\n")
        h.read_pattern(id, 100000)
        h.close(id)
    end)

    for _, resumes in ipairs { false, true } do
        it("does no harm with one that sends 16 KB" .. (resumes and ", session resumed" or ""),
            function()
                local probe = io.open(deaf)
                if not probe then
                    pending "ssl_server2 is not built"
                    return
                end
                probe:close()
                h.sc.config { tls_record_max = 1024, close_grace_ms = 0 }
                local port, made = h.free_port(), pki.server()
                local process = h.spawn(("%s server_addr=127.0.0.1 server_port=%d crt_file=%s "
                    .. "key_file=%s response_size=16384 max_version=tls12"):format(h.quote(deaf),
                    port, made.cert, made.key))
                h.wait_until(function()
                    return h.slurp(process.log):find "Waiting for a remote connection"
                end, "ssl_server2")
                for round = 1, resumes and 2 or 1 do
                    local id = tls.open(port, { caCert = cert.caCert, hostName = "localhost",
                        resume = resumes })
                    assert.equal(round == 2, h.sc.sock_info(id).resumed)
                    h.send(id, "GET / HTTP/1.0\r\n\r\n")
                    local answer, message = h.read_to_end(id)
                    assert.equal(16384, #answer)
                    assert.equal("closed by the peer", message.reason)
                    h.close(id)
                end
                h.stop(process)
                h.note_memory() -- the session stays
            end)
    end
end)
