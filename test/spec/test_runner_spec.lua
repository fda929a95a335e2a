-- tools/test.sh: what it lets a spec do, with specs of its own beside the real helper and modules.
-- SPDX-License-Identifier: MIT
local commands = require "test.support.commands"
local quoted, shell, must, write = commands.quoted, commands.shell, commands.must, commands.write

local root = os.getenv "SC_ROOT"

-- As where namespaces are forbidden; the rest of util-linux is not touched.
local UNSHARE = [[
#!/bin/sh
echo "unshare: unshare failed: Operation not permitted" >&2
exit 1
]]

describe("tools/test.sh", function()
    if os.getenv "SC_SUITE" ~= "release" then
        return
    end

    local place

    -- Runs one spec with this body of a test. Returns what test.sh prints.
    local function run(body, environment)
        write(place .. "/test/spec/own_spec.lua",
            ('it("does something", function() %s end)'):format(body))
        return (shell(("cd %s && %s SC_RETRY= SC_RESULTS= sh tools/test.sh release own"):format(
            quoted(place), environment or "")))
    end

    local function expect(text, output)
        assert.truthy(output:find(text, 1, true), output)
    end

    setup(function()
        place = must "mktemp -d" .. "/a place"
        must(("mkdir -p %s %s"):format(quoted(place .. "/test/spec"), quoted(place .. "/bin")))
        must(("cp -R %s/tools %s"):format(quoted(root), quoted(place)))
        for _, name in ipairs { "lua", "build", "test/support" } do
            must(("ln -s %s %s"):format(quoted(root .. "/" .. name), quoted(place .. "/" .. name)))
        end
        write(place .. "/bin/unshare", UNSHARE)
        must(("chmod +x %s"):format(quoted(place .. "/bin/unshare")))
    end)
    teardown(function()
        must("rm -rf " .. quoted((place:gsub("/a place$", ""))))
    end)

    it("runs a spec, in a directory whose name has a blank", function()
        expect("1 passed, 0 failed, 0 skipped", run "assert.truthy(true)")
    end)

    it("fails a spec that leaves a file in the temporary directory, and names the file", function()
        local output = run [[io.open(os.getenv "TMPDIR" .. "/litter", "w"):close()]]
        expect("it left this in the temporary directory:\n    litter", output)
        expect("1 failed", output)
    end)

    it("finds nothing left by the helper's files, processes and keys", function()
        local output = run [[
            local h, pki = require "test.support.helper", require "test.support.pki"
            h.begin()
            h.file "text"
            pki.root()
            assert.truthy(h.port.echo)
            h.finish()
        ]]
        expect("1 passed, 0 failed, 0 skipped", output)
    end)

    describe("without a namespace", function()
        local FORBIDDEN = "env -u SOCKETCORE_NETNS PATH=\"$PWD/bin:$PATH\""

        it("says why there is none, and skips what needs one", function()
            local output = run([[
                if not require "test.support.helper".netns then
                    return pending "needs a network namespace"
                end
                error "it was run"
            ]], FORBIDDEN)
            expect("unshare: unshare failed: Operation not permitted", output)
            expect("0 passed, 0 failed, 1 skipped", output)
        end)

        it("lets nothing leave the machine, and fails the spec that tried", function()
            local output = run([=[
                local h, luasocket = require "test.support.helper", require "socket.core"
                h.raw.sock_conn(h.TCP, "192.0.2.1", 11)
                h.sc.sock_send(h.open(h.UDP, "192.0.2.1", 12), "x")
                h.raw.sock_conn(h.TCP, "fd00:1234::1", 13)
                h.raw.sock_conn(h.TCP, "192.0.2.1.example", 14)
                h.pump(300)
                luasocket.tcp():connect("192.0.2.1", 15)
                luasocket.tcp6():connect("2001:db8::1", 16)
                luasocket.dns.toip "host.example"
                os.execute "openssl s_client -connect 192.0.2.1:17 </dev/null 2>/dev/null"
                os.execute [[python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"x", ("192.0.2.1", 18))' 2>/dev/null]]
            ]=], FORBIDDEN)
            expect("it would have sent to other machines", output)
            for _, port in ipairs { 11, 12, 15, 17, 18 } do
                expect(("192.0.2.1 port %d\n"):format(port), output)
            end
            for _, words in ipairs { "fd00:1234::1 port 13", "2001:db8::1 port 16",
                "host.example", "port 53" } do
                expect(words .. "\n", output)
            end
            expect("1 failed", output)
        end)

        it("lets a test reach this machine", function()
            local output = run([[
                local h = require "test.support.helper"
                h.begin()
                for _, kind in ipairs { "TCP", "UDP" } do
                    local port = kind == "TCP" and h.port.echo or h.port.udp_echo
                    for _, host in ipairs { "127.0.0.1", "localhost" } do
                        h.close(h.open(h[kind], host, port))
                    end
                end
                h.finish()
            ]], FORBIDDEN)
            expect("1 passed, 0 failed, 0 skipped", output)
        end)
    end)

    it("is needed: a spec that is run by hand where other machines can be reached ends", function()
        if os.getenv "SOCKETCORE_NETNS" ~= "1" or select(2, shell("ip tuntap add tap88 mode tap && "
            .. "ip address add 198.51.100.2/24 dev tap88 && ip link set tap88 up")) ~= 0 then
            return pending "no interface can be made here"
        end
        local output, status = shell("cd " .. quoted(root)
            .. " && lua5.1 -e 'require \"test.support.helper\"'")
        must "ip link delete tap88"
        assert.equal(1, status)
        expect("run the specs with ./dev test", output)
    end)
end)
