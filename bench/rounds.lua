--- The run: every figure on every side in each round, in the reverse order every other round.
--
-- SPDX-License-Identifier: MIT

local figures = require "figures"
local sides = require "sides"

local rounds = {}

local function say(...)
    io.stderr:write(string.format(...), "\n")
end

-- Adds what a side measured to values[figure][side]: lists with one number a round.
local function keep(values, figure, side, result)
    if not result then
        return
    end
    values[figure.name] = values[figure.name] or {}
    local lists = values[figure.name][side] or { values = {} }
    values[figure.name][side] = lists
    table.insert(lists.values, result.value)
    for _, more in ipairs({ "cpu", "server" }) do
        if result[more] then
            lists[more] = lists[more] or {}
            table.insert(lists[more], result[more])
        end
    end
end

-- With a server of its own: the ports of one side that wait in TIME_WAIT are not in the way of the
-- next one's connects.
local function measure(side, figure, group, plan)
    local server = sides.start_server(group, plan.cpus.server)
    local result = sides.measure(side, figure, server, plan.seconds, plan.cpus)
    server.stop()
    return result
end

-- One round of a part: a group and some of its figures, each with the sides that have it.
local function run_round(part, round, plan, values)
    for number, figure in ipairs(part.figures) do
        say("round %d of %d: %s %d of %d, %s", round, plan.rounds, part.group.name, number,
            #part.figures, figure.title)
        local names = figure.measured_on
        for i = 1, #names do
            local side = names[round % 2 == 1 and i or #names + 1 - i]
            keep(values, figure, side, measure(side, figure, part.group, plan))
        end
    end
end

local function with_sides(figure, names)
    return setmetatable({ measured_on = names }, { __index = figure })
end

--- The groups' figures of which something is wanted: `only` is a set of names, nil for all.
function rounds.parts(only)
    local parts = {}
    for _, group in ipairs(figures.GROUPS) do
        local part = { group = group, figures = {} }
        for _, figure in ipairs(group.figures) do
            if not only or only[figure.name] then
                table.insert(part.figures, with_sides(figure, figures.sides_of(group, figure)))
            end
        end
        if #part.figures > 0 then
            parts[#parts + 1] = part
        end
    end
    return parts
end

--- Runs the parts; `plan` has `rounds`, `seconds` and `cpus`. Returns values[figure][side].
function rounds.run(parts, plan)
    local values = {}
    for round = 1, plan.rounds do
        for _, part in ipairs(parts) do
            run_round(part, round, plan, values)
        end
    end
    return values
end

-- Growth --------------------------------------------------------------------------------------

-- A variant of a figure: with these arguments, under a name of its own.
local function variant(row, name, value)
    local figure = figures.by_name()[row[1]][1]
    return setmetatable({
        name = row[1] .. "/" .. value,
        work = figure.work or figure.name,
        title = string.format("%s, %s=%d", figure.title, name, value),
        arguments = name .. "=" .. value,
        measured_on = { figures.OURS, row[2] },
    }, { __index = figure })
end

local function growth_parts(rows, name, values)
    local by_group = {}
    local parts = {}
    for _, group in ipairs(figures.GROUPS) do
        local part = { group = group, figures = {} }
        parts[#parts + 1] = part
        for _, figure in ipairs(group.figures) do
            by_group[figure.name] = part
        end
    end
    for _, row in ipairs(rows) do
        for _, value in ipairs(values) do
            if value <= (row.largest or math.huge) then
                table.insert(by_group[row[1]].figures, variant(row, name, value))
            end
        end
    end
    return parts
end

--- How cost grows, by number of sockets and by size: two values[figure/number][side].
function rounds.run_growth(plan)
    return rounds.run(growth_parts(figures.BY_SOCKETS, "sockets", figures.SOCKETS), plan),
        rounds.run(growth_parts(figures.BY_SIZE, "size", figures.SIZES), plan)
end

return rounds
