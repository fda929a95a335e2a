-- Every function of socketcore with every Lua type in every place, and ids that are none: either an
-- error that names the argument or the failure value, and a live socket beside notices nothing.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local raw = h.raw

local function noop() end

-- What a call may be given, by the name of its Lua type.
local SAMPLES = {
    { "nil" }, { "boolean", true }, { "number", 7 }, { "string", "some text" }, { "table", {} },
    { "function", noop }, { "thread", coroutine.create(noop) }, { "userdata", io.stdout },
}

-- Numbers that can never be the id of a socket in use.
local function bad_ids()
    return { { "2^53", 2 ^ 53 }, { "-1", -1 }, { "0.5", 0.5 }, { "NaN", 0 / 0 }, { "inf", 1 / 0 },
        { "-inf", -1 / 0 }, { "2^31", 2 ^ 31 }, { "2^32", 2 ^ 32 }, { "-2^31", -2 ^ 31 },
        { "1e300", 1e300 }, { "unused", 900 }, { "max_sockets", raw.config().max_sockets } }
end

-- Right arguments for each function, for the socket `id`, and the failure value.
local function functions(id)
    return {
        { name = "sock_send", args = { id, "x" }, failure = 0 },
        { name = "sock_recv", args = { id, 1 }, failure = "" },
        { name = "sock_close", args = { id }, failure = 0 },
        { name = "sock_destroy", args = { id }, failure = 0 },
        { name = "sock_setopt", args = { id, 6, 3, 1 }, failure = -1,
            lenient = { [4] = true } }, -- a value that is not a number is -1
        { name = "sock_getremainbuf", args = { id }, failure = 0 },
    }
end

local calls_made = 0

local function call(name, args, count)
    calls_made = calls_made + 1
    return pcall(raw[name], (table.unpack or unpack)(args, 1, count)) -- luacheck: ignore
end

local function names_argument(message, position)
    return tostring(message):find(("bad argument #%d"):format(position), 1, true) ~= nil
end

describe("bad arguments", function()
    local still_works, live

    before_each(function()
        h.begin()
        still_works, live = h.bystander()
    end)
    after_each(function()
        still_works()
        h.finish()
    end)
    teardown(h.finish_file)

    -- Lua takes a number for a string and a string of digits for a number; so do the bindings.
    local function fits(wanted, type)
        return type == wanted or (wanted == "string" and type == "number")
    end

    it("of each Lua type in each place of the functions on an id are named in the error", function()
        for _, f in ipairs(functions(live)) do
            for position = 1, #f.args do
                for _, sample in ipairs(SAMPLES) do
                    local wanted = type(f.args[position])
                    if not fits(wanted, sample[1]) then
                        local args = { (table.unpack or unpack)(f.args) } -- luacheck: ignore
                        args[position] = sample[2]
                        local what = ("%s with a %s as argument %d"):format(f.name, sample[1],
                            position)
                        local ok, result = call(f.name, args, #f.args)
                        if ok then
                            assert.is_true(f.lenient and f.lenient[position], what .. " was taken")
                            assert.equal(f.failure, result, what)
                        else
                            assert.is_true(names_argument(result, position),
                                what .. ": " .. tostring(result))
                        end
                    end
                end
            end
        end
    end)

    it("that are missing are named in the error", function()
        for _, f in ipairs(functions(live)) do
            for count = 0, #f.args - 1 do
                local ok, result = call(f.name, f.args, count)
                local what = ("%s with %d arguments"):format(f.name, count)
                if ok then
                    assert.is_true(f.lenient and f.lenient[count + 1], what .. " was taken")
                else
                    assert.is_true(names_argument(result, count + 1), what .. ": " .. result)
                end
            end
        end
        for _, name in ipairs { "sock_conn", "sock_conn_ext" } do
            local right = { 0, "127.0.0.1", 80 }
            for count = 0, 2 do
                local ok, result = call(name, right, count)
                assert.is_false(ok)
                assert.matches("bad argument #%d", result)
            end
        end
    end)

    it("that are no id give the failure value", function()
        for _, id in ipairs(bad_ids()) do
            for _, f in ipairs(functions(id[2])) do
                if not (f.name == "sock_close" and id[1] == "unused") then
                    local ok, result = call(f.name, f.args, #f.args)
                    assert(ok, ("%s(%s): %s"):format(f.name, id[1], tostring(result)))
                    assert.equal(f.failure, result, ("%s(%s)"):format(f.name, id[1]))
                end
            end
            local ok, result = call("sock_info", { id[2] }, 1)
            assert.is_true(ok)
            assert.is_nil(result)
        end
        h.expect_silence(50)
    end)

    it("of sock_conn and sock_conn_ext are named in the error", function()
        local right = { 0, "127.0.0.1", h.port.echo }
        for _, name in ipairs { "sock_conn", "sock_conn_ext" } do
            for position = 1, 3 do
                for _, sample in ipairs(SAMPLES) do
                    -- A second string or number is for the two tests below.
                    local in_order = position > 1
                        and (sample[1] == "string" or sample[1] == "number")
                    if not (position == 1 and sample[1] == "number") and not in_order then
                        local args = { right[1], right[2], right[3] }
                        args[position] = sample[2]
                        local ok, result = call(name, args, 3)
                        local what = ("%s with a %s as argument %d"):format(name, sample[1],
                            position)
                        assert.is_false(ok, what .. " was taken")
                        assert.is_true(names_argument(result, position), what .. ": " .. result)
                    end
                end
            end
        end
    end)

    it("of sock_conn that are out of range are named in the error", function()
        local bad_types = { -1, 5, 0.5, 2 ^ 53, 0 / 0, 1 / 0, 100 }
        for _, type in ipairs(bad_types) do
            local ok, result = call("sock_conn", { type, "127.0.0.1", 80 }, 3)
            assert.is_false(ok, tostring(type))
            assert.matches("bad argument #1", result)
        end
        local bad_ports = { -1, 65536, 0.5, 2 ^ 53, 0 / 0, 1 / 0, "65536", "99999999999999999999" }
        for _, port in ipairs(bad_ports) do
            local ok, result = call("sock_conn", { 0, "127.0.0.1", port }, 3)
            assert.is_false(ok, tostring(port))
            assert.matches("bad argument #3", result)
            ok, result = call("sock_conn", { 0, port, "127.0.0.1" }, 3)
            assert.is_false(ok, tostring(port))
            assert.matches("bad argument #2", result)
        end
        for _, protocol in ipairs { -1, 256, 1.5 } do
            assert.is_false((call("sock_conn", { 4, "127.0.0.1", protocol }, 3)))
        end
    end)

    it("of sock_conn that are no address and no port are errors", function()
        for _, pair in ipairs { { "127.0.0.1", "localhost" }, { 80, 81 }, { {}, 80 } } do
            local ok, result = call("sock_conn", { 0, pair[1], pair[2] }, 3)
            assert.is_false(ok)
            assert.matches("bad argument #[23]", result)
        end
    end)

    it("in the optional places of sock_conn are named in the error", function()
        local types = { "boolean", "string", "table", "function", "thread", "userdata" }
        local by_type = {}
        for _, sample in ipairs(SAMPLES) do
            by_type[sample[1]] = sample[2]
        end
        for position = 4, 8 do
            for _, type in ipairs(types) do
                if not (position == 4 and type == "table") then
                    local args = { 0, "127.0.0.1", h.port.echo }
                    args[position] = by_type[type]
                    local ok, result = call("sock_conn", args, position)
                    local what = ("a %s as argument %d"):format(type, position)
                    assert.is_false(ok, what .. " was taken")
                    assert.is_true(names_argument(result, position), what .. ": " .. result)
                end
            end
        end
        for _, number in ipairs { -1, 0.5, 65536, 2 ^ 53, 0 / 0 } do
            local ok = call("sock_conn", { 0, "127.0.0.1", h.port.echo, nil, nil, nil, number }, 7)
            assert.is_false(ok, "the local port " .. tostring(number))
        end
        for _, number in ipairs { -1, 0.5, 0 / 0, 1 / 0, -2 ^ 53 } do
            local ok = call("sock_conn", { 0, "127.0.0.1", h.port.echo, nil, number }, 5)
            assert.is_false(ok, "recvBufferLen " .. tostring(number))
        end
    end)

    it("with odd lengths for sock_recv give no data and no crash", function()
        for _, length in ipairs { -1, -2 ^ 31, 0.5, 0 / 0, 0 } do
            local ok, result = call("sock_recv", { live, length }, 2)
            if ok then
                assert.equal("", result)
            else
                assert.is_true(names_argument(result, 2), result)
            end
        end
        for _, length in ipairs { 2 ^ 31, 2 ^ 53, 1e300, 1 / 0 } do
            local ok, result = call("sock_recv", { live, length }, 2)
            if ok then
                assert.equal("", result)
            else
                assert.is_true(names_argument(result, 2), result)
            end
        end
    end)

    it("of sock_setopt give -1 when they are numbers without a meaning", function()
        local numbers = { -1, 0.5, 0 / 0, 1 / 0, 2 ^ 31, 2 ^ 53, 7 }
        for position = 2, 4 do
            for _, number in ipairs(numbers) do
                if not (position == 4 and number == 7) then
                    local args = { live, 6, 3, 1 }
                    args[position] = number
                    local ok, result = call("sock_setopt", args, 4)
                    assert(ok, result)
                    assert.equal(-1, result, ("argument %d = %s"):format(position,
                        tostring(number)))
                end
            end
        end
    end)

    it("of socketcore.config are errors and change nothing", function()
        local before = raw.config()
        for _, sample in ipairs(SAMPLES) do
            if sample[1] ~= "nil" and sample[1] ~= "table" then
                local ok, result = call("config", { sample[2] }, 1)
                assert.is_false(ok, sample[1])
                assert.is_true(names_argument(result, 1), result)
            end
        end
        for _, sample in ipairs(SAMPLES) do
            if sample[1] ~= "nil" and sample[1] ~= "number" then
                for name in pairs(before) do
                    assert.is_false((call("config", { { [name] = sample[2] } }, 1)),
                        name .. " as a " .. sample[1])
                end
            end
        end
        assert.same(before, raw.config())
    end)

    it("add up to at least 300 calls", function()
        assert.is_true(calls_made >= 300, ("only %d calls"):format(calls_made))
    end)
end)
