--- The bench's command line.
--
-- SPDX-License-Identifier: MIT

local figures = require "figures"

local options = {}

options.USAGE = [[
usage: ./dev bench [options]
  --quick          3 short rounds
  --rounds N       rounds (default 7)
  --seconds S      seconds that one measurement aims at (default 0.4)
  --only NAME,...  only these figures, or groups of them:
                   plain: send send8 receive round_trip round_trip_1 connect datagram datagram_1
                   idle event_10 event_4000 start start_lua
                   tls: tls_full_ecdsa tls_full_rsa tls_resume_ecdsa tls_resume_rsa
                   tls_resume_ecdsa12 tls_resume_rsa12 tls_send tls_send8 tls_receive
                   tls_send8_chacha tls_receive_chacha
  --growth         how cost grows instead: 1 to 1,000 sockets, 64 bytes to 1 MB (3 rounds)
  --cpus C,S       pin clients to CPU C and the server to CPU S, or "none" (default: the first two)
  --check          exit status 1 when an "at least" target is not reached
  --json FILE      where the report goes (default build/bench.json)
  --publish        everything, growth too; writes bench/results.json, bench/chart.svg and the
                   README's part between the bench's marks
  --render         only that part and the chart again, from bench/results.json

Each side is a process of its own, on CPU C; the server is on CPU S. Between two CPUs a round trip
mostly measures how long a CPU takes to wake up, which is the same on all sides. So round trips and
UDP echoes are measured a second time (..._1) with client and server on CPU S: there the time is
what client, kernel and server work. A ratio is the median of each round's ratio.
]]

local ROUNDS, QUICK_ROUNDS, GROWTH_ROUNDS = 7, 3, 3
local SECONDS, QUICK_SECONDS, GROWTH_SECONDS = 0.4, 0.06, 0.25

local function number_in(word, text, least, most, is_whole)
    local number = tonumber(text)
    if not number or number < least or number > most or (is_whole and number % 1 ~= 0) then
        error(string.format("%s wants a %s from %g to %g, not %s.", word,
            is_whole and "whole number" or "number", least, most, text), 0)
    end
    return number
end

-- By word: what it does with the options and its value. Words without a value have none.
local FLAGS = { ["--quick"] = "quick", ["--growth"] = "growth", ["--check"] = "check",
    ["--publish"] = "publish", ["--render"] = "render", ["--help"] = "help" }
local VALUES = {}

VALUES["--rounds"] = function(result, text)
    result.rounds = number_in("--rounds", text, 1, 1000, true)
end

VALUES["--seconds"] = function(result, text)
    result.seconds = number_in("--seconds", text, 0.01, 20)
end

VALUES["--json"] = function(result, text)
    result.json = text
end

VALUES["--cpus"] = function(result, text)
    local client, server = text:match("^(%d+),(%d+)$")
    if not client and text ~= "none" then
        error("--cpus wants two numbers like 0,1, or none, not " .. text .. ".", 0)
    end
    result.cpus = { client = client, server = server }
end

VALUES["--only"] = function(result, text)
    local names = figures.by_name()
    result.only = result.only or {}
    for name in text:gmatch("[^,]+") do
        if not names[name] then
            error(string.format("there is no figure \"%s\".\n%s", name, options.USAGE), 0)
        end
        for _, figure in ipairs(names[name]) do
            result.only[figure.name] = true
        end
    end
end

local function set_defaults(result)
    local rounds, seconds = ROUNDS, SECONDS
    if result.quick then
        rounds, seconds = QUICK_ROUNDS, QUICK_SECONDS
    end
    result.growth_rounds = result.rounds or GROWTH_ROUNDS
    result.growth_seconds = result.seconds or math.min(seconds, GROWTH_SECONDS)
    result.rounds = result.rounds or rounds
    result.seconds = result.seconds or seconds
    return result
end

--- Returns what the words say; raises a message for the user otherwise.
function options.parse(words)
    local result = {}
    local i = 1
    while words[i] do
        local word = words[i]
        if FLAGS[word] then
            result[FLAGS[word]] = true
        elseif VALUES[word] then
            i = i + 1
            if not words[i] then
                error(string.format("%s wants a value.\n%s", word, options.USAGE), 0)
            end
            VALUES[word](result, words[i])
        else
            error(string.format("\"%s\" is not an option.\n%s", word, options.USAGE), 0)
        end
        i = i + 1
    end
    if result.publish and (result.only or result.growth) then
        error("--publish measures everything.", 0)
    end
    return set_defaults(result)
end

return options
