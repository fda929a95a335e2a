--- The report as JSON, by dkjson: sorted, with as many digits as mean something, and read back.
--
-- SPDX-License-Identifier: MIT

local dkjson = require "dkjson"

local json = {}

-- dkjson writes 14 digits. Whole numbers stay as they are.
local function with_fewer_digits(value)
    if type(value) == "number" then
        return value % 1 == 0 and value or tonumber(string.format("%.5g", value))
    elseif type(value) ~= "table" then
        return value
    end
    local copy = {}
    for name, item in pairs(value) do
        copy[name] = with_fewer_digits(item)
    end
    return copy
end

-- Names in order, so that two reports can be compared line by line.
local function names_of(value, names)
    for name, item in pairs(value) do
        if type(name) == "string" then
            names[name] = true
        end
        if type(item) == "table" then
            names_of(item, names)
        end
    end
    return names
end

local function sorted_names(value)
    local list = {}
    for name in pairs(names_of(value, {})) do
        list[#list + 1] = name
    end
    table.sort(list)
    return list
end

function json.encode(value)
    return dkjson.encode(with_fewer_digits(value),
        { indent = true, keyorder = sorted_names(value) }) .. "\n"
end

--- Raises when the text is not JSON.
function json.decode(text)
    local value, _, err = dkjson.decode(text)
    if err then
        error(err, 0)
    end
    return value
end

return json
