--- The report: from measured values to entries, and from entries to text.
--
-- SPDX-License-Identifier: MIT

local figures = require "figures"
local summary = require "summary"

local report = {}

--- The number as one reads it: three digits, or all of them with commas.
function report.readable(value)
    if value < 10 then
        return string.format("%.2f", value)
    elseif value < 100 then
        return string.format("%.1f", value)
    end
    local digits = string.format("%.0f", value)
    while digits:find("%d%d%d%d") do
        digits = digits:gsub("^(%d+)(%d%d%d)", "%1,%2")
    end
    return digits
end

local readable = report.readable

-- Entries -------------------------------------------------------------------------------------

--- The entries of all figures of the parts, in order.
function report.entries(parts, values)
    local entries = {}
    for _, part in ipairs(parts) do
        for _, figure in ipairs(part.figures) do
            local entry = summary.entry(figure, figure.measured_on, values)
            entry.group = part.group.name
            entries[#entries + 1] = entry
        end
    end
    return entries
end

-- One table of growth: a row for each figure and side, with a median for each number.
local function growth_rows(rows, numbers, values)
    local result = {}
    for _, row in ipairs(rows) do
        local figure = figures.by_name()[row[1]][1]
        for _, side in ipairs({ figures.OURS, row[2] }) do
            local medians = {}
            for i, number in ipairs(numbers) do
                local lists = (values[row[1] .. "/" .. number] or {})[side]
                -- JSON has no holes.
                medians[i] = lists and summary.of(lists.values).median or "-"
            end
            result[#result + 1] = { figure = row[1], title = row.title or figure.title,
                unit = figure.unit, side = side, medians = medians }
        end
    end
    return { numbers = numbers, rows = result }
end

function report.growth(by_sockets, by_size)
    return {
        sockets = growth_rows(figures.BY_SOCKETS, figures.SOCKETS, by_sockets),
        bytes = growth_rows(figures.BY_SIZE, figures.SIZES, by_size),
    }
end

--- Every target of the entries: a list of { entry =, target = }.
function report.targets(entries)
    local list = {}
    for _, entry in ipairs(entries) do
        for _, target in ipairs(entry.targets) do
            list[#list + 1] = { entry = entry, target = target }
        end
    end
    return list
end

--- What a target stands beside, in words; nil when it is the value itself.
function report.beside(target)
    return target.beside or target.label
end

-- What was not reached: figure, what it stands beside, what it is and should be.
local function miss(entry, target)
    local beside = report.beside(target)
    return string.format("%s %s(%s%s, not %s)", entry.name,
        beside and "beside " .. beside .. " " or "", readable(target.median),
        beside and "" or " " .. entry.unit, readable(target.at_least))
end

--- How many targets were reached, as one line, and whether all were.
function report.verdict(entries)
    local missed = {}
    local targets = report.targets(entries)
    for _, item in ipairs(targets) do
        if not item.target.reached then
            missed[#missed + 1] = miss(item.entry, item.target)
        end
    end
    local line = string.format("%d of %d \"at least\" targets reached", #targets - #missed,
        #targets)
    if #missed > 0 then
        line = line .. "; not: " .. table.concat(missed, ", ")
    end
    return line .. ".", #missed == 0
end

-- Text ----------------------------------------------------------------------------------------

--- The rows as lines, right-aligned but for the first column. # does for widths: all is ASCII.
function report.aligned(rows)
    local widths = {}
    for _, row in ipairs(rows) do
        for column, text in ipairs(row) do
            widths[column] = math.max(widths[column] or 0, #text)
        end
    end
    local lines = {}
    for i, row in ipairs(rows) do
        local cells = {}
        for column, text in ipairs(row) do
            local space = string.rep(" ", widths[column] - #text)
            cells[column] = column == 1 and text .. space or space .. text
        end
        lines[i] = (table.concat(cells, "  "):gsub(" +$", ""))
    end
    return table.concat(lines, "\n") .. "\n"
end

--- The sides that stand beside ours in a group.
function report.others(group_name)
    local names = {}
    for _, group in ipairs(figures.GROUPS) do
        for i, name in ipairs(group.sides) do
            if group.name == group_name and i > 1 then
                names[#names + 1] = name
            end
        end
    end
    return names
end

local function values_table(entries, group_name)
    local others = report.others(group_name)
    local header = { "median (lowest .. highest)", "", "socketcore", "" }
    for _, name in ipairs(others) do
        header[#header + 1] = name
        header[#header + 1] = "ratio"
    end
    local rows = { header }
    for _, entry in ipairs(entries) do
        local ours = entry.sides.socketcore
        local row = { entry.title, entry.unit, ours and readable(ours.median) or "-", ours
            and string.format("(%s .. %s)", readable(ours.min), readable(ours.max)) or "" }
        for _, name in ipairs(others) do
            local side, ratio = entry.sides[name], entry.ratios[name]
            row[#row + 1] = side and readable(side.median) or "-"
            row[#row + 1] = ratio and readable(ratio.median) or ""
        end
        rows[#rows + 1] = row
    end
    return report.aligned(rows)
end

-- What a unit of work costs the client's process: less noisy than time on a machine that is in use.
local function cpu_table(entries, group_name)
    local others = report.others(group_name)
    local header = { "us of CPU time for one of them", figures.OURS }
    for _, name in ipairs(others) do
        header[#header + 1] = name
    end
    local rows = { header }
    for _, entry in ipairs(entries) do
        local row = { entry.title }
        for i = 2, #header do
            local side = entry.sides[header[i]]
            row[i] = side and side.cpu and readable(side.cpu) or "-"
        end
        if row[2] ~= "-" then
            rows[#rows + 1] = row
        end
    end
    return #rows > 1 and report.aligned(rows) or ""
end

local function targets_table(entries)
    local rows = { { "targets", "beside", "is", "", "at least", "", "moonshot", "" } }
    for _, item in ipairs(report.targets(entries)) do
        local target = item.target
        rows[#rows + 1] = { item.entry.title .. (item.entry.less and " (less)" or ""),
            report.beside(target) or "-", readable(target.median),
            string.format("(%s .. %s)", readable(target.min), readable(target.max)),
            readable(target.at_least), target.reached and "yes" or "NO",
            readable(target.moonshot), target.moonshot_reached and "yes" or "no" }
    end
    return #rows > 1 and report.aligned(rows) or ""
end

-- A server that is busy all the time is what is measured there, not the side.
local function busy_servers(entries)
    local lines = {}
    for _, entry in ipairs(entries) do
        for name, side in pairs(entry.sides) do
            if side.server and side.server > 0.9 then
                lines[#lines + 1] = string.format(
                    "the server was busy %.0f %% of the time: %s, %s\n", 100 * side.server,
                    entry.title, name)
            end
        end
    end
    table.sort(lines)
    return table.concat(lines)
end

--- The rows of one of the report's growth tables, the header first: lists of cells.
function report.growth_rows(title, growth)
    local header = { title, "", "" }
    for i, number in ipairs(growth.numbers) do
        header[3 + i] = readable(number):gsub("%.%d+$", "")
    end
    local rows = { header }
    for _, row in ipairs(growth.rows) do
        local cells = { row.title, row.side, row.unit }
        for i, median in ipairs(row.medians) do
            cells[3 + i] = tonumber(median) and readable(median) or "-"
        end
        rows[#rows + 1] = cells
    end
    return rows
end

--- The tables of `result`, with `figures` and maybe `growth`, as text.
function report.text(result)
    local parts = {}
    for _, group in ipairs(figures.GROUPS) do
        local entries = {}
        for _, entry in ipairs(result.figures) do
            if entry.group == group.name then
                entries[#entries + 1] = entry
            end
        end
        if #entries > 0 then
            parts[#parts + 1] = values_table(entries, group.name)
            parts[#parts + 1] = cpu_table(entries, group.name)
        end
    end
    parts[#parts + 1] = targets_table(result.figures)
    parts[#parts + 1] = busy_servers(result.figures)
    if result.growth then
        parts[#parts + 1] = report.aligned(report.growth_rows(
            "by number of sockets, all at once", result.growth.sockets))
        parts[#parts + 1] = report.aligned(report.growth_rows(
            "by bytes of a send, read or datagram", result.growth.bytes))
    end
    local text = {}
    for _, part in ipairs(parts) do
        if part ~= "" then
            text[#text + 1] = part
        end
    end
    return table.concat(text, "\n")
end

return report
