--- The committed copy of a report: bench/results.json, bench/chart.svg, and the part of README.md
-- between two marks, all made from the report alone.
--
-- SPDX-License-Identifier: MIT

local chart = require "chart"
local figures = require "figures"
local json = require "json"
local report = require "report"
local summary = require "summary"

local publish = {}

publish.BEGIN = "<!-- ./dev bench --publish writes from here -->"
publish.END = "<!-- to here -->"

local readable = report.readable

-- Markdown ------------------------------------------------------------------------------------

local function row(cells)
    return "| " .. table.concat(cells, " | ") .. " |\n"
end

local function rule(count)
    return "|" .. string.rep("---|", count) .. "\n"
end

local function value_cell(side)
    return side and string.format("%s (%s .. %s)", readable(side.median), readable(side.min),
        readable(side.max)) or "-"
end

local function ratio_cell(entry, name)
    local side, ratio = entry.sides[name], entry.ratios[name]
    return side and string.format("%s (%s)", readable(side.median), readable(ratio.median)) or "-"
end

-- The targets of an entry, each with what it came to.
local function target_cell(entry)
    local parts = {}
    for i, target in ipairs(entry.targets) do
        local beside = report.beside(target)
        parts[i] = string.format("%s%s %g: %s%s", beside and beside .. " " or "",
            entry.less and "at most" or "at least", target.at_least,
            target.reached and "yes" or "**no**",
            target.label and string.format(" (%s)", readable(target.median)) or "")
    end
    return table.concat(parts, "; ")
end

local function figures_table(result, group)
    local others = report.others(group.name)
    local header = { "", "", "socketcore" }
    for _, name in ipairs(others) do
        header[#header + 1] = figures.HEADINGS[name] or name
    end
    header[#header + 1] = "target reached"
    local lines = { row(header), rule(#header) }
    for _, entry in ipairs(result.figures) do
        if entry.group == group.name then
            local cells = { entry.title, entry.unit, value_cell(entry.sides.socketcore) }
            for _, name in ipairs(others) do
                cells[#cells + 1] = ratio_cell(entry, name)
            end
            cells[#cells + 1] = target_cell(entry)
            lines[#lines + 1] = row(cells)
        end
    end
    return table.concat(lines)
end

-- Where the limits stand beside this peer, in words.
local function limits_beside(peer, sides)
    local parts = {}
    for _, name in ipairs(figures.LIMITS) do
        if sides[name] then
            local ratio = summary.ratio(sides[name].values, sides[peer].values)
            parts[#parts + 1] = figures.HEADINGS[name] .. " " .. readable(ratio.median)
        end
    end
    return table.concat(parts, ", ")
end

-- Each target beside a peer that was missed, with the limits.
local function limits_list(result)
    local lines = {}
    for _, item in ipairs(report.targets(result.figures)) do
        local peer = item.target.beside
        if peer and not item.target.reached and not figures.HEADINGS[peer] then
            lines[#lines + 1] = string.format("- %s: %s of %s; the limits stand at: %s.\n",
                item.entry.title, readable(item.target.median), peer,
                limits_beside(peer, item.entry.sides))
        end
    end
    return table.concat(lines)
end

local function growth_table(title, growth)
    local lines = {}
    for i, cells in ipairs(report.growth_rows(title, growth)) do
        lines[#lines + 1] = row(cells)
        if i == 1 then
            lines[#lines + 1] = rule(#cells)
        end
    end
    return table.concat(lines)
end

local function where(result)
    local machine = result.machine
    return string.format("%s, %d CPUs (%s), %s; %d rounds of %g s each; socketcore %s%s, %s.\n",
        machine.system, machine.cpus, machine.cpu, "kernel " .. machine.kernel, result.rounds,
        result.seconds, result.versions.socketcore, result.link and " with the link " .. result.link
        or "", result.date:sub(1, 10))
end

--- What stands between the marks.
function publish.markdown(result)
    local parts = { where(result), "![ratios and targets](bench/chart.svg)\n" }
    for _, group in ipairs(figures.GROUPS) do
        parts[#parts + 1] = figures_table(result, group)
    end
    parts[#parts + 1] = report.verdict(result.figures) .. "\n"
    local limits = limits_list(result)
    if limits ~= "" then
        parts[#parts + 1] = limits
    end
    if result.growth then
        parts[#parts + 1] = "<details><summary>How cost grows with sockets and sizes (all sockets "
            .. "together)</summary>\n"
        parts[#parts + 1] = growth_table("sockets at once", result.growth.sockets)
        parts[#parts + 1] = growth_table("bytes of a send, read or datagram", result.growth.bytes)
        parts[#parts + 1] = "</details>\n"
    end
    return table.concat(parts, "\n")
end

--- The text with the part between the marks replaced. Raises when it does not have both, once.
function publish.replaced(text, part)
    local first, last = text:find(publish.BEGIN, 1, true)
    local final = last and text:find(publish.END, last, true)
    if not final or text:find(publish.BEGIN, last, true) then
        error("README.md does not have the bench's two marks once.", 0)
    end
    return text:sub(1, last) .. "\n\n" .. part .. "\n" .. text:sub(final), first
end

-- Files ---------------------------------------------------------------------------------------

local function read(name)
    local file, message = io.open(name)
    if not file then
        error(message, 0)
    end
    local text = file:read("*a")
    file:close()
    return text
end

-- Under a name of its own first, so that nothing is lost when the disk is full.
local function write(name, text)
    local file = assert(io.open(name .. ".new", "w"))
    assert(file:write(text))
    assert(file:close())
    assert(os.rename(name .. ".new", name))
end

--- Writes the chart and the README's part anew from `directory`/results.json.
function publish.render(directory)
    local result = json.decode(read(directory .. "/results.json"))
    local readme = directory .. "/../README.md"
    write(directory .. "/chart.svg", chart.svg(result))
    write(readme, (publish.replaced(read(readme), publish.markdown(result))))
end

--- Writes `directory`/results.json and what is made from it.
function publish.all(directory, result)
    write(directory .. "/results.json", json.encode(result))
    publish.render(directory)
end

return publish
