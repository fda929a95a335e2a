-- The variables SOCKETCORE_*: a value that is none is named together with those that are, and the
-- log of each step.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"

-- What a script prints with these variables in its environment, and its exit status.
local function run(variables, script)
    local command = ("env %s timeout -k 1 30 %s %s 2>&1; echo \" exit $?\""):format(variables,
        h.interpreter, h.file(script))
    local out = assert(io.popen(command))
    local text, status = out:read("*a"):match "^(.*) exit (%d+)%s*$"
    out:close()
    return text, tonumber(status)
end

local LOAD = [[
    print(pcall(require, "socketcore"))
    print(pcall(require, "socketcore"))
]]

describe("the environment", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    local refused = {
        ["SOCKETCORE_LINK=natt"] = "SOCKETCORE_LINK=natt is not a link; it is nat %(the default%), "
            .. "slirp or tap:NAME",
        ["SOCKETCORE_LINK=NAT"] = "SOCKETCORE_LINK=NAT is not a link",
        ["SOCKETCORE_LINK=nat:tap0"] = "SOCKETCORE_LINK=nat:tap0 is not a link",
        ["SOCKETCORE_LINK=tap:tap0"] = "the TAP link needs SOCKETCORE_TAP_ADDR=a.b.c.d/len",
    }
    local tap = {
        ["SOCKETCORE_TAP_ADDR=10.0.0.2"] = "SOCKETCORE_TAP_ADDR=10.0.0.2 is not an IPv4 address",
        ["SOCKETCORE_TAP_ADDR=10.0.0.2/33"] = "SOCKETCORE_TAP_ADDR=10.0.0.2/33 is not an IPv4",
        ["SOCKETCORE_TAP_ADDR=10.0.0.2/24x"] = "SOCKETCORE_TAP_ADDR=10.0.0.2/24x is not an IPv4",
        ["SOCKETCORE_TAP_ADDR=300.1.1.1/24"] = "SOCKETCORE_TAP_ADDR=300.1.1.1/24 is not an IPv4",
        ["SOCKETCORE_TAP_ADDR=10.0.0.2/8 SOCKETCORE_TAP_GATEWAY=gateway"] =
            "SOCKETCORE_TAP_GATEWAY=gateway is not an IPv4 address",
        ["SOCKETCORE_TAP_ADDR=10.0.0.2/8 SOCKETCORE_TAP_ADDR6=fd00::2/64"] =
            "SOCKETCORE_TAP_ADDR6=fd00::2/64 is not an IPv6 address %(without a length%)",
        ["SOCKETCORE_TAP_ADDR=10.0.0.2/8 SOCKETCORE_TAP_GATEWAY6=10.0.0.1"] =
            "SOCKETCORE_TAP_GATEWAY6=10.0.0.1 is not an IPv6 address",
        ["SOCKETCORE_TAP_ADDR=10.0.0.2/8 SOCKETCORE_TAP_DNS=dns"] =
            "SOCKETCORE_TAP_DNS=dns is not an IP address",
        ["SOCKETCORE_TAP_ADDR=10.0.0.2/8"] = 'TAP interface "no_such_tap": does not exist',
    }
    for variables, reason in pairs(tap) do
        refused["SOCKETCORE_LINK=tap:no_such_tap " .. variables] = reason
    end

    for variables, reason in pairs(refused) do
        it("is refused by require with " .. variables, function()
            local text = run(variables, LOAD)
            local line = "false\tsocketcore does not start: " .. reason .. "[^\n]*\n"
            -- And again, with the same words.
            assert.matches("^" .. line .. line .. "$", text)
        end)
    end

    it("with a log level that is none gives a warning, and the default level", function()
        local text, status = run("SOCKETCORE_LOG=verbose", [[
            require "socketcore"
            require "rtos"
            socketcore.sock_conn(0, "127.0.0.1", 1)
            print(rtos.receive(5000).reason)
        ]])
        assert.equal(0, status)
        assert.matches("^socketcore: warn: SOCKETCORE_LOG=verbose is not a level; it is debug, "
            .. "info, warn %(used now%) or error\nconnect: refused %(127.0.0.1 port 1%)\n$", text)
    end)

    for _, variables in ipairs { "SOCKETCORE_LOG= SOCKETCORE_LINK=", "SOCKETCORE_LOG=error",
        "SOCKETCORE_LINK=slirp SOCKETCORE_LOG=warn" } do
        it("is taken with " .. variables, function()
            assert.matches("^true\ttable: [^\n]*\ntrue\ttable: [^\n]*\n$", (run(variables, LOAD)))
        end)
    end

    it("SOCKETCORE_LOG=debug shows each step of a socket, with milliseconds", function()
        local text = run("SOCKETCORE_LOG=debug", ([[
            require "socketcore"
            require "rtos"
            local id = socketcore.sock_conn(0, "localhost", %d)
            local function await(message)
                repeat
                    local m = rtos.receive(10000)
                until m.id == rtos["MSG_SOCK_" .. message]
            end
            await "CONN_CNF"
            socketcore.sock_send(id, "hello")
            await "RECV_IND"
            socketcore.sock_recv(id, 5)
            socketcore.sock_close(id)
            await "CLOSE_CNF"
        ]]):format(h.port.echo))
        local steps = {}
        for step in text:gmatch "socketcore: debug: socket 0, %d+ ms: ([^\n]*)\n" do
            steps[#steps + 1] = step
        end
        local all = table.concat(steps, "\n")
        for _, step in ipairs {
            "^opened to localhost port " .. h.port.echo .. "; looking it up\n",
            "\nconnecting to 127.0.0.1\n",
            "\nconnected to 127.0.0.1 port " .. h.port.echo .. "\n",
            "\nsend of 5 bytes: acknowledged\n",
            "\n5 bytes received\n",
            "\nsock_close\nclosed; 5 bytes received, 5 acknowledged$",
        } do
            assert.matches(step, all)
        end
    end)

    it("SOCKETCORE_LOG=debug shows why a connection failed, info only the reason", function()
        local script = [[
            require "socketcore"
            require "rtos"
            socketcore.sock_conn(0, "127.0.0.1", 1)
            rtos.receive(5000)
        ]]
        local text = run("SOCKETCORE_LOG=debug", script)
        assert.matches("debug: socket 0, %d+ ms: connect: refused %(127.0.0.1 port 1%)\n", text)
        assert.equal("socketcore: info: connect: refused (127.0.0.1 port 1)\n",
            (run("SOCKETCORE_LOG=info", script)))
    end)
end)
