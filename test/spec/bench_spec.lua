-- The bench's numbers, report, JSON, chart and README: what is made from measured values.
-- SPDX-License-Identifier: MIT
package.path = "bench/?.lua;" .. package.path
local chart = require "chart"
local json = require "json"
local options = require "options"
local publish = require "publish"
local report = require "report"
local summary = require "summary"

-- Values of three rounds, as rounds.run returns them.
local VALUES = {
    send = {
        socketcore = { values = { 90, 300, 120 }, cpu = { 3, 1, 2 }, server = { 0.25, 0.5, 0.75 } },
        LuaSocket = { values = { 100, 200, 50 } },
        lwIP = { values = { 100, 100, 100 } },
    },
    idle = {
        socketcore = { values = { 9, 10, 8 } },
        LuaSocket = { values = { 8, 8, 8 } },
    },
    start = { socketcore = { values = { 30, 10, 15 } } },
}

local PARTS = {
    {
        group = { name = "plain" },
        figures = {
            { name = "send", title = "send <all>", unit = "MB/s",
                measured_on = { "socketcore", "LuaSocket", "luv", "lwIP" },
                targets = { { beside = "LuaSocket", at_least = 1.6, moonshot = 2 },
                    { beside = "luv", at_least = 1, moonshot = 2 } } },
            { name = "idle", title = "idle", unit = "KB", less = true,
                measured_on = { "socketcore", "LuaSocket" },
                targets = { { beside = "LuaSocket", at_least = 1.6, moonshot = 1 } } },
            { name = "start", title = "start", unit = "ms", less = true,
                measured_on = { "socketcore" }, targets = { { at_least = 20, moonshot = 5 } } },
        },
    },
}

local function fixture()
    return {
        date = "2030-01-02T03:04:05Z", rounds = 3, seconds = 0.5,
        machine = { cpu = "CPU \"X\"", cpus = 2, kernel = "6", system = "Debian" },
        versions = { socketcore = "abc123" },
        figures = report.entries(PARTS, VALUES),
    }
end

describe("the bench", function()
    it("takes the median of an odd and of an even number of values", function()
        assert.equal(3, summary.of({ 9, 1, 3 }).median)
        assert.equal(2.5, summary.of({ 4, 1, 2, 3 }).median)
        local all = summary.of({ 5, 7, 6 })
        assert.same({ 5, 7, { 5, 7, 6 } }, { all.min, all.max, all.values })
    end)

    it("takes the median of the rounds' ratios, not the ratio of the medians", function()
        local entry = fixture().figures[1]
        assert.equal(120, entry.sides.socketcore.median)
        assert.equal(100, entry.sides.LuaSocket.median)
        assert.equal(1.5, entry.ratios.LuaSocket.median)
        assert.equal(0.9, entry.ratios.LuaSocket.min)
        assert.equal(2.4, entry.ratios.LuaSocket.max)
        assert.same({ 2, 0.5 }, { entry.sides.socketcore.cpu, entry.sides.socketcore.server })
    end)

    it("judges more, less and plain values, and leaves out what was not measured", function()
        local targets = {}
        for i, item in ipairs(report.targets(fixture().figures)) do
            targets[i] = { item.entry.name, item.target.reached, item.target.moonshot_reached }
        end
        assert.same({ { "send", false, false }, { "idle", true, false }, { "start", true, false } },
            targets)
    end)

    it("judges by the digits that are printed", function()
        assert.is_true(summary.reaches(0.9951, 1))
        assert.is_false(summary.reaches(0.9949, 1))
        assert.is_true(summary.reaches(1.1049, 1.1, true))
        assert.is_false(summary.reaches(1.1051, 1.1, true))
    end)

    it("ends with how many targets were reached and which were not", function()
        local line, is_reached = report.verdict(fixture().figures)
        assert.equal('2 of 3 "at least" targets reached; not: send beside LuaSocket '
            .. '(1.50, not 1.60).', line)
        assert.is_false(is_reached)
        local entries = fixture().figures
        entries[3].targets[1].reached = false
        assert.is_truthy(report.verdict(entries):find(", start (15.0 ms, not 20.0).", 1, true))
        entries = fixture().figures
        table.remove(entries, 1)
        assert.same({ '2 of 2 "at least" targets reached.', true }, { report.verdict(entries) })
    end)

    it("prints numbers as one reads them", function()
        assert.same({ "0.56", "9.53", "99.5", "1,189", "12,345,678" }, {
            report.readable(0.561), report.readable(9.53), report.readable(99.5),
            report.readable(1189.4), report.readable(12345678) })
    end)

    it("writes JSON that reads back as the same, sorted and with lists on one line", function()
        local numbers = { 1, 2.5, 1e-9, 1048576 }
        local text = json.encode({ b = numbers, a = { x = "\"\n", y = true }, c = 1 / 3 })
        assert.same({ b = numbers, a = { x = "\"\n", y = true }, c = 0.33333 },
            json.decode(text))
        assert.matches("%[1,2%.5,1e%-0?9,1048576%]", text)
        assert.is_true(text:find('"a"', 1, true) < text:find('"b"', 1, true))
        assert.has_error(function() json.decode("{") end)
    end)

    it("draws a bar for each ratio that has a target, better to the right", function()
        local svg = chart.svg(json.decode(json.encode(fixture())))
        local bars = {}
        for x, width, class in svg:gmatch('<rect x="([%d.]+)" y="%d+" width="([%d.]+)" '
            .. 'height="%d+" class="(%l+)"/>') do
            bars[#bars + 1] = { x = tonumber(x), width = tonumber(width), class = class }
        end
        local one = tonumber(svg:match('<line x1="([%d.]+)"[^>]+class="one"/>'))
        -- 1.5 times as fast begins at the line; 1.125 times the memory ends there.
        assert.same({ "no", "yes" }, { bars[1].class, bars[2].class })
        assert.equal(one, bars[1].x)
        assert.is_true(math.abs(one - bars[2].x - bars[2].width) < 0.2)
        assert.is_truthy(svg:find("send &lt;all&gt;", 1, true))
        assert.is_nil(svg:find("href", 1, true))
    end)

    it("replaces the README's part between its marks and nothing else", function()
        local text = "before\n" .. publish.BEGIN .. "\nold\n" .. publish.END .. "\nafter\n"
        local replaced = publish.replaced(text, "new")
        assert.equal("before\n" .. publish.BEGIN .. "\n\nnew\n" .. publish.END .. "\nafter\n",
            replaced)
        assert.equal(replaced, (publish.replaced(replaced, "new")))
        assert.has_error(function() publish.replaced("no marks", "new") end)
        assert.has_error(function() publish.replaced(text .. text, "new") end)
    end)

    it("makes the README's part from the report alone", function()
        local text = publish.markdown(json.decode(json.encode(fixture())))
        assert.is_truthy(text:find("| send <all> | MB/s | 120 (90.0 .. 300) "
            .. "| 100 (1.50) | - | 100 (1.20) | - |", 1, true))
        assert.is_truthy(text:find("LuaSocket at least 1.6: **no**", 1, true))
        assert.is_truthy(text:find("at most 20: yes", 1, true))
        -- Of the missed target alone.
        assert.is_truthy(text:find("- send <all>: 1.50 of LuaSocket; the limits stand at: "
            .. "lwIP in C 1.00.\n", 1, true))
        assert.is_nil(text:find("- idle", 1, true))
        assert.is_truthy(text:find("2 of 3 \"at least\" targets reached", 1, true))
        assert.is_truthy(text:find("bench/chart.svg", 1, true))
    end)

    it("has the marks in the README", function()
        local file = assert(io.open("README.md"))
        local text = file:read("*a")
        file:close()
        assert.is_truthy(publish.replaced(text, ""))
    end)

    it("understands its options and says what is wrong with others", function()
        local parsed = options.parse({ "--quick", "--only", "plain,tls_send", "--cpus", "3,5" })
        assert.is_true(parsed.only.send and parsed.only.idle and parsed.only.tls_send)
        assert.is_nil(parsed.only.tls_receive)
        assert.same({ client = "3", server = "5" }, parsed.cpus)
        assert.equal(7, options.parse({}).rounds)
        for _, words in ipairs({ { "--rounds" }, { "--rounds", "0" }, { "--rounds", "1.5" },
            { "--seconds", "x" }, { "--only", "nothing" }, { "--cpus", "1" }, { "--what" },
            { "--publish", "--only", "send" } }) do
            assert.is_false((pcall(options.parse, words)), table.concat(words, " "))
        end
    end)
end)
