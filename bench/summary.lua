--- Numbers: from what each round measured to medians, ratios and whether a target was reached.
--
-- SPDX-License-Identifier: MIT

local summary = {}

--- Median, least and largest of a list of numbers.
function summary.of(values)
    local sorted = {}
    for i, value in ipairs(values) do
        sorted[i] = value
    end
    table.sort(sorted)
    local n = #sorted
    local middle = math.floor((n + 1) / 2)
    return {
        values = values,
        median = n % 2 == 1 and sorted[middle] or (sorted[middle] + sorted[middle + 1]) / 2,
        min = sorted[1],
        max = sorted[n],
    }
end

--- The ratios of two lists with one value a round. A ratio of two values of the same round, because
-- a machine that is slower for a while is so for both.
function summary.ratio(values, others)
    local ratios = {}
    for round, value in ipairs(values) do
        ratios[round] = value / others[round]
    end
    return summary.of(ratios)
end

local function rounded(value)
    return math.floor(value * 100 + 0.5) / 100
end

--- Is this value, as it is printed, as good as that?
function summary.reaches(value, wanted, less)
    if less then
        return rounded(value) <= wanted
    end
    return rounded(value) >= wanted
end

-- What a target is measured by: a summary of ratios, or of the value itself.
local function compared(target, figure, values)
    local ours = values[figure.name].socketcore
    local others
    if target.beside then
        others = values[figure.name][target.beside]
    elseif target.figure then
        others = values[target.figure] and values[target.figure].socketcore
    else
        return ours and summary.of(ours.values)
    end
    return ours and others and summary.ratio(ours.values, others.values)
end

local function judged(target, figure, values)
    local result = compared(target, figure, values)
    if not result then
        return nil
    end
    return {
        beside = target.beside, label = target.label,
        at_least = target.at_least, moonshot = target.moonshot,
        median = result.median, min = result.min, max = result.max,
        reached = summary.reaches(result.median, target.at_least, figure.less),
        moonshot_reached = summary.reaches(result.median, target.moonshot, figure.less),
    }
end

--- The report's entry for a figure. `values[name][side]` has lists with one number a round:
-- `values`, and maybe `cpu` and `server`. `side_names` are those that were asked.
function summary.entry(figure, side_names, values)
    local entry = {
        name = figure.name, title = figure.title, unit = figure.unit,
        less = figure.less or false, sides = {}, ratios = {}, targets = {},
    }
    local own = values[figure.name]
    for _, name in ipairs(side_names) do
        if own[name] then
            entry.sides[name] = summary.of(own[name].values)
            for _, more in ipairs({ "cpu", "server" }) do
                if own[name][more] then
                    entry.sides[name][more] = summary.of(own[name][more]).median
                end
            end
        end
    end
    for _, name in ipairs(side_names) do
        if name ~= "socketcore" and entry.sides[name] and entry.sides.socketcore then
            local ratio = summary.ratio(own.socketcore.values, own[name].values)
            entry.ratios[name] = { median = ratio.median, min = ratio.min, max = ratio.max }
        end
    end
    for _, target in ipairs(figure.targets or {}) do
        table.insert(entry.targets, judged(target, figure, values))
    end
    return entry
end

return summary
