--- The chart: one SVG with a bar for every ratio that has a target, on a logarithmic scale. A bar
-- begins at 1.0, better is to the right also where less is better. Nothing is read from elsewhere.
--
-- SPDX-License-Identifier: MIT

local report = require "report"

local chart = {}

local WIDTH, ROW, TOP, BOTTOM = 920, 22, 64, 34
local PLOT_LEFT, PLOT_RIGHT = 440, 850
local LEAST, MOST = 0.25, 16 -- the ends of the scale
local TICKS = { 0.25, 0.5, 1, 2, 4, 8, 16 }

local STYLE = [[
<style>
text { font: 12px system-ui, sans-serif; fill: #24292f; }
.title { font-size: 15px; font-weight: 600; }
.small { font-size: 11px; fill: #57606a; }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.grid { stroke: #d0d7de; } .one { stroke: #24292f; stroke-width: 1.5; }
.yes { fill: #2da44e; } .no { fill: #d1603d; }
.mark { stroke: #24292f; stroke-width: 2; }
.spread { stroke: #57606a; }
.moon { fill: none; stroke: #24292f; stroke-width: 1.5; }
.ground { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; } .small { fill: #9da7b3; } .grid { stroke: #30363d; }
.one, .mark, .moon { stroke: #e6edf3; } .spread { stroke: #9da7b3; } .ground { fill: #0d1117; }
.yes { fill: #3fb950; } .no { fill: #e5734a; }
}
</style>
]]

local function escaped(text)
    return (text:gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;",
        ["\""] = "&quot;" }))
end

-- Where a ratio stands.
local function x_of(ratio)
    ratio = math.max(LEAST, math.min(MOST, ratio))
    return PLOT_LEFT + (PLOT_RIGHT - PLOT_LEFT) * math.log(ratio / LEAST) / math.log(MOST / LEAST)
end

local function text(x, y, class, content)
    return string.format('<text x="%.1f" y="%.1f" class="%s">%s</text>\n', x, y, class,
        escaped(content))
end

local function scale(height)
    local parts = {}
    for _, tick in ipairs(TICKS) do
        local x = x_of(tick)
        parts[#parts + 1] = string.format(
            '<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" class="%s"/>\n', x, TOP - 6, x,
            height - BOTTOM + 4, tick == 1 and "one" or "grid")
        parts[#parts + 1] = text(x, height - BOTTOM + 20, "small middle",
            string.format("%g", tick))
    end
    return table.concat(parts)
end

local function bar(row)
    local one, x = x_of(1), x_of(row.ratio)
    local y = row.y
    local moon = x_of(row.moonshot)
    return table.concat({
        text(12, y + 14, "", row.title),
        text(PLOT_LEFT - 12, y + 14, "small end", row.beside),
        string.format('<rect x="%.1f" y="%d" width="%.1f" height="%d" class="%s"/>\n',
            math.min(one, x), y + 4, math.max(math.abs(x - one), 1), ROW - 8,
            row.reached and "yes" or "no"),
        string.format('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" class="spread"/>\n',
            x_of(row.worst), y + ROW / 2, x_of(row.best), y + ROW / 2),
        string.format('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" class="mark"/>\n',
            x_of(row.at_least), y + 2, x_of(row.at_least), y + ROW - 2),
        string.format('<circle cx="%.1f" cy="%.1f" r="4" class="moon"/>\n', moon, y + ROW / 2),
        text(WIDTH - 12, y + 15, "small end", row.label),
    })
end

-- The targets that are ratios, each as how many times better we are.
local function rows_of(result)
    local rows = {}
    for _, item in ipairs(report.targets(result.figures)) do
        local entry, target = item.entry, item.target
        if report.beside(target) then
            local function better(ratio)
                return entry.less and 1 / ratio or ratio
            end
            rows[#rows + 1] = {
                title = entry.title, beside = report.beside(target),
                ratio = better(target.median), worst = better(target.min),
                best = better(target.max), at_least = better(target.at_least),
                moonshot = better(target.moonshot), reached = target.reached,
                label = string.format("%.2f%s", target.median, entry.less and " (less)" or ""),
                y = TOP + ROW * #rows,
            }
        end
    end
    return rows
end

--- The SVG of a report.
function chart.svg(result)
    local rows = rows_of(result)
    local height = TOP + ROW * #rows + BOTTOM
    local parts = {
        string.format('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" '
            .. 'height="%d" role="img">\n', WIDTH, height, WIDTH, height),
        "<title>socketcore beside other libraries: ratios and targets</title>\n",
        STYLE,
        string.format('<rect width="%d" height="%d" class="ground"/>\n', WIDTH, height),
        text(12, 24, "title", "socketcore beside ..."),
        text(12, 44, "small", "Median of the rounds' ratios, lowest to highest as a thin line; to "
            .. "the right is better. Upright line: target, green when reached. Circle: moonshot."),
        scale(height),
    }
    for _, row in ipairs(rows) do
        parts[#parts + 1] = bar(row)
    end
    parts[#parts + 1] = "</svg>\n"
    return table.concat(parts)
end

return chart
