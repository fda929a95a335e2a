-- DNS servers, one for each argument ADDRESS=BEHAVIOUR[:MS], on port 53.
--
-- Prints "ready", then for each UDP query "ADDRESS PORT ID TYPE NAME", and for one over TCP
-- "ADDRESS tcp TYPE NAME". Answers after MS milliseconds. The names are those of `zone`; each that
-- begins with "any" is 127.0.0.1, every other one does not exist. The TTL is 0, with --keep 60 s.
-- Behaviours:
--
--   answer       answers; over UDP 512 bytes at most
--   silent       does not
--   once         answers a question once it comes again
--   forge        answers with a foreign id, a foreign question and nonsense, then rightly
--   formerr, servfail, notimp, refused   says so
--   lame         answers nothing: it neither knows the name nor asks others
--   cut          cuts all answers over UDP, with no address left, and gives them in full over TCP
--   cut-refused  cuts them, with the first address, and does not listen on TCP
--   cut-silent   cuts them, with the first address, and says nothing on TCP
--   no-ip6       answers for IPv4 only
--   fail-ip6     answers for IPv4, and says servfail for IPv6
--
-- SPDX-License-Identifier: MIT
local socket = require "socket.core"

local A, CNAME, AAAA = 1, 5, 28
local ONE, REFUSING, LOOPBACK6 = "\127\0\0\1", "\127\0\0\77", ("\0"):rep(15) .. "\1"
local CHAIN_LINKS = 6
local RESULTS = { formerr = 1, servfail = 2, notimp = 4, refused = 5 }
local UDP_MAX = 512
local PORT = 53

local zone = {
    ["one.zone"] = { { A, ONE } },
    ["two.zone"] = { { A, REFUSING }, { A, ONE } },
    ["six.zone"] = { { AAAA, LOOPBACK6 } },
    ["both.zone"] = { { A, ONE }, { AAAA, LOOPBACK6 } },
    ["empty.zone"] = {},
    ["many.zone"] = {},
}
for i = 1, 200 do
    zone["many.zone"][i] = { A, "\127\1\0" .. string.char(i) }
end

local ttl = 0
local sockets, handlers = {}, {} -- what is listened to, and what to do then
local later = {} -- { at =, run = }
local asked = {}

local function say(...)
    io.write(table.concat({ ... }, " "), "\n")
    io.flush()
end

local function u16(number)
    return string.char(math.floor(number / 256), number % 256)
end

local function get16(text, at)
    local high, low = text:byte(at, at + 1)
    return high * 256 + low
end

local function encode_name(name)
    return (name:gsub("([^.]+)%.?", function(label)
        return string.char(#label) .. label
    end)) .. "\0"
end

-- The name, the type and the question section of a query.
local function parse(query)
    local at, labels = 13, {}
    while query:byte(at) ~= 0 do
        labels[#labels + 1] = query:sub(at + 1, at + query:byte(at))
        at = at + query:byte(at) + 1
    end
    return table.concat(labels, "."):lower(), get16(query, at + 1), query:sub(13, at + 4)
end

local function record(owner, kind, data)
    return owner .. u16(kind) .. u16(1) .. u16(0) .. u16(ttl) .. u16(#data) .. data
end

local function records_of(name, kind)
    local list = {}
    if name == "chain.zone" then
        local owner = name
        for i = 1, CHAIN_LINKS do
            local target = ("link%d.%s"):format(i, name)
            list[#list + 1] = record(encode_name(owner), CNAME, encode_name(target))
            owner = target
        end
        list[#list + 1] = kind == A and record(encode_name(owner), A, ONE) or nil
        return list
    end
    local entries = zone[name] or name:match "^any" and zone["one.zone"]
    for _, entry in ipairs(entries or {}) do
        if entry[1] == kind then
            list[#list + 1] = record("\192\12", kind, entry[2])
        end
    end
    return entries and list
end

local function message(query, flags, question, records)
    return query:sub(1, 2) .. u16(flags) .. u16(question ~= "" and 1 or 0) .. u16(#records)
        .. u16(0) .. u16(0) .. question .. table.concat(records)
end

-- The answer in at most `size` bytes and, with `most`, marked as cut after so many records.
local function answer(query, size, most)
    local name, kind, question = parse(query)
    local records = records_of(name, kind)
    local flags = 0x8180 + (records and 0 or 3)
    local kept, length, is_cut = {}, 12 + #question, most ~= nil
    for i, text in ipairs(records or {}) do
        length = length + #text
        if length > size or most and i > most then
            is_cut = true
            break
        end
        kept[i] = text
    end
    return message(query, flags + (is_cut and 0x200 or 0), question, kept)
end

local function replies(behaviour, query)
    local name, kind, question = parse(query)
    local result = RESULTS[behaviour] or behaviour == "fail-ip6" and kind == AAAA and 2
    local key = name .. kind
    local was_asked = asked[key]
    asked[key] = true
    if behaviour == "silent" or behaviour == "no-ip6" and kind == AAAA
        or behaviour == "once" and not was_asked then
        return {}
    end
    if result then
        return { message(query, 0x8180 + result, result == 1 and "" or question, {}) }
    end
    if behaviour == "lame" then
        return { message(query, 0x8000, question, {}) }
    end
    if behaviour:match "^cut" then
        return { answer(query, UDP_MAX, behaviour == "cut" and 0 or 1) }
    end
    local right = answer(query, UDP_MAX)
    if behaviour == "forge" then
        local foreign_id = string.char((right:byte(1) + 1) % 256) .. right:sub(2)
        local foreign_name = right:sub(1, 13) .. "x" .. right:sub(15)
        return { foreign_id, foreign_name, query, right:sub(1, 14), "\0", ("\0"):rep(40), right }
    end
    return { right }
end

local function after(ms, run)
    later[#later + 1] = { at = socket.gettime() + ms / 1000, run = run }
end

local function listen_to(which, handle)
    sockets[#sockets + 1] = which
    handlers[which] = handle
end

local function forget(which)
    for i, other in ipairs(sockets) do
        if other == which then
            table.remove(sockets, i)
        end
    end
    which:close()
end

local function serve_udp(udp, address, behaviour, delay)
    listen_to(udp, function()
        local query, client, port = udp:receivefrom()
        if not query then
            return
        end
        local name, kind = parse(query)
        say(address, port, get16(query, 1), kind, name)
        after(delay, function()
            for _, text in ipairs(replies(behaviour, query)) do
                udp:sendto(text, client, port)
            end
        end)
    end)
end

local function serve_tcp(listener, address, behaviour, delay)
    listen_to(listener, function()
        local client = listener:accept()
        client:settimeout(0)
        client:setoption("tcp-nodelay", true)
        local got = ""
        listen_to(client, function()
            local data, why, part = client:receive(999)
            got = got .. (data or part)
            if why == "closed" then
                forget(client)
            end
            while #got >= 2 and #got >= 2 + get16(got, 1) do
                local query = got:sub(3, 2 + get16(got, 1))
                local name, kind = parse(query)
                got = got:sub(3 + #query)
                say(address, "tcp", kind, name)
                if behaviour ~= "cut-silent" then
                    local text = answer(query, 65535)
                    text = u16(#text) .. text
                    -- In pieces, as TCP may.
                    after(delay, function() client:send(text:sub(1, 1)) end)
                    after(delay + 5, function() client:send(text:sub(2)) end)
                end
            end
        end)
    end)
end

local function start(address, behaviour, delay)
    local is_ip6 = address:find(":", 1, true)
    local udp = assert((is_ip6 and socket.udp6 or socket.udp4)())
    assert(udp:setsockname(address, PORT))
    udp:settimeout(0)
    serve_udp(udp, address, behaviour, delay)
    if behaviour ~= "cut-refused" then
        local tcp = assert((is_ip6 and socket.tcp6 or socket.tcp4)())
        tcp:setoption("reuseaddr", true)
        assert(tcp:bind(address, PORT))
        assert(tcp:listen(100))
        serve_tcp(tcp, address, behaviour, delay)
    end
end

for _, word in ipairs(arg) do
    local address, behaviour, ms = word:match "^(.-)=([^:]+):?(%d*)$"
    if address then
        start(address, behaviour, tonumber(ms) or 0)
    elseif word == "--keep" then
        ttl = 60
    end
end
say "ready"

while true do
    local now, wait = socket.gettime(), nil
    local todo = later
    later = {}
    for _, item in ipairs(todo) do
        if item.at <= now then
            item.run()
        else
            later[#later + 1] = item
            wait = math.min(wait or math.huge, item.at - now)
        end
    end
    for _, ready in ipairs((socket.select(sockets, nil, wait and math.max(wait, 0)))) do
        handlers[ready]()
    end
end
