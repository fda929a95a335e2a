--- Tasks, published messages and timers.
-- A task is a coroutine. It runs at once up to its first wait, inside `taskInit`; from then on it
-- is resumed from `sys.run`, the loop that takes one message after the other from `rtos.receive`.
-- What the messages mean is left to the handlers registered with `rtos.on`.
--
-- An error in a task ends that task only, one in a handler, subscriber or timer that call only;
-- both are logged with their traceback. `sys.onError` puts something else in the log's place. In a
-- test, which is where `sys.run` is called inside `pcall` or `xpcall` on the host, `sys.run` ends
-- and raises the error.
--
-- SPDX-License-Identifier: MIT
-- @module sys

local rtos = rawget(_G, "rtos") or require "rtos"
local log = require "log"

local sys = {}

local tonumber, type, xpcall = tonumber, type, xpcall
local unpack = rawget(_G, "unpack") or rawget(table, "unpack")
local running, status, yield = coroutine.running, coroutine.status, coroutine.yield
local plain_resume = coroutine.resume
local ceil, floor = math.ceil, math.floor

local TICKS_PER_MS = 16384 / 1000
local RTOS_TIMER_MAX = 126322567 -- ms, the longest time that rtos.timer_start takes
local TIMER_ID_MAX = 0x7FFFFFFF
local FIRST_TIMER_ID = 0x10000 -- scripts that call rtos.timer_start themselves use small ids

-- Calls.

local function bad_argument(n, name, expected, got, level)
    error(string.format("bad argument #%d to '%s' (%s expected, got %s)", n, name, expected,
        type(got)), level or 3)
end

-- Errors of tasks and of what is called from `sys.run`.

-- Set by the program that runs the script, on the host: `failures` counts errors, `first_failure`
-- is the first one's message, `has_run` is true once `sys.run` was called, and `ended(text)` is
-- called when it returns, with what the tasks that are left wait for.
local runner = rtos.runner

local on_error -- the function of sys.onError
local failure -- { error }: what sys.run is to raise
local throws -- does this sys.run raise the error of a task? nil: it has not been called yet

-- Is there somebody who would catch an error of the function that calls this one? Every test
-- framework does, the interpreter with a script does not.
local function is_caught()
    local co, is_main = running()
    if co and not is_main then
        return true
    end
    local level = 3
    local info = debug.getinfo(level, "f")
    while info and info.func ~= pcall and info.func ~= xpcall do
        level = level + 1
        info = debug.getinfo(level, "f")
    end
    return info ~= nil
end

local function note_error(message, traceback, task)
    if task then
        log.error("sys", "task ended by an error:", traceback)
    else
        log.error("sys", traceback)
    end
    if runner then
        runner.failures = runner.failures + 1
        runner.first_failure = runner.first_failure or tostring(message)
    elseif throws ~= false and rtos.idle then
        failure = failure or { message }
    end
end

local function handle_error(message, traceback, task)
    local ok, raised = pcall(on_error or note_error, message, traceback, task)
    if not ok then
        failure = failure or { raised }
    end
end

local function log_error(message)
    handle_error(message, debug.traceback(tostring(message), 2))
end

--- Sets what happens after an error in a task, handler, subscriber or timer, in place of the log.
-- What `fn` raises ends `sys.run`, which raises it; when `fn` returns, the error is dealt with.
-- @tparam function|nil fn called as `fn(message, traceback, task)`; `message` is what was raised,
-- `task` nil when it was no task. nil: as at first
-- @raise an error when `fn` is neither
function sys.onError(fn)
    if fn ~= nil and type(fn) ~= "function" then
        bad_argument(1, "onError", "function", fn)
    end
    on_error = fn
end

-- call(fn, ...): xpcall with the traceback in the log. Lua 5.1's xpcall passes no arguments; there
-- one argument, as most subscribers have, goes through a variable instead of a closure.
local call
if select(2, xpcall(function(...) return select("#", ...) end, log_error, 1)) == 1 then
    function call(fn, ...)
        return xpcall(fn, log_error, ...)
    end
else
    local next_fn, next_argument

    local function call_next()
        local fn, argument = next_fn, next_argument
        next_fn, next_argument = nil, nil
        return fn(argument)
    end

    function call(fn, ...)
        local n = select("#", ...)
        if n == 0 then
            return xpcall(fn, log_error)
        elseif n == 1 then
            next_fn, next_argument = fn, ...
            return xpcall(call_next, log_error)
        end
        local arguments = { ... }
        return xpcall(function() return fn(unpack(arguments, 1, n)) end, log_error)
    end
end

-- Tasks.

-- The function of each that has not ended.
local tasks = {}

local function end_task(...)
    tasks[running()] = nil
    return ...
end

local function run_task(fn, ...)
    return end_task(fn(...))
end

-- Reports a task's error. One that could not be resumed has none: it ended before, and has no stack
-- any more, or it is not suspended.
local function report(co, ok, ...)
    if not ok and tasks[co] and status(co) == "dead" and debug.getinfo(co, 0, "l") then
        tasks[co] = nil
        handle_error((...), debug.traceback(co, tostring((...))), co)
    end
    return ok, ...
end

-- Scripts resume tasks themselves, also from timers, and do not look at what coroutine.resume
-- returns: the error of a task is reported whoever resumed it.
local function resume(co, ...)
    return report(co, plain_resume(co, ...))
end
coroutine.resume = resume -- luacheck: ignore 122

local function current_task(name, level)
    local co, is_main = running()
    if not co or is_main then
        error("sys." .. name .. " must be called inside a task", level or 3)
    end
    return co
end

--- Starts a task. It runs at once, up to its first wait.
-- @tparam function fn the task's function
-- @param ... its arguments
-- @treturn thread the task
-- @raise an error when `fn` is not a function
function sys.taskInit(fn, ...)
    if type(fn) ~= "function" then
        bad_argument(1, "taskInit", "function", fn)
    end
    local co = coroutine.create(run_task)
    tasks[co] = fn
    resume(co, fn, ...)
    return co
end

-- Timers.

-- Every armed timer by id: the task that waits, or the table of a timerStart.
local timers = {}
-- Time that is left beyond RTOS_TIMER_MAX, by id.
local remaining = {}
-- Timers of timerStart by function and first argument: a chain linked by `next`.
local timers_of = setmetatable({}, { __mode = "k" })
local NO_ARGUMENT, NIL_ARGUMENT, NAN_ARGUMENT = {}, {}, {}
local last_id = FIRST_TIMER_ID - 1

local function new_id()
    local id = last_id
    repeat
        id = id < TIMER_ID_MAX and id + 1 or FIRST_TIMER_ID
    until timers[id] == nil
    last_id = id
    return id
end

-- Whole milliseconds, rounded up: nothing ever fires early. 0 and less means the next round.
local function whole_ms(ms, n, name, level)
    local number = tonumber(ms)
    if not number or number ~= number then
        bad_argument(n, name, "milliseconds", ms, level or 4)
    end
    return number <= 1 and 1 or ceil(number)
end

local function start_rtos_timer(id, ms)
    if ms > RTOS_TIMER_MAX then
        remaining[id] = ms - RTOS_TIMER_MAX
        ms = RTOS_TIMER_MAX
    end
    if rtos.timer_start(id, ms) ~= 1 then
        error("rtos.timer_start refuses a timer of " .. ms .. " ms", 0)
    end
end

local function arm(entry, ms)
    local id = new_id()
    start_rtos_timer(id, ms)
    timers[id] = entry
    return id
end

local function disarm(id)
    timers[id] = nil
    remaining[id] = nil
    rtos.timer_stop(id)
end

local function chain_key(n, first)
    if n == 0 then
        return NO_ARGUMENT
    elseif first == nil then
        return NIL_ARGUMENT
    elseif first ~= first then
        return NAN_ARGUMENT
    end
    return first
end

local function link_timer(timer)
    local chains = timers_of[timer.fn]
    if not chains then
        chains = {}
        timers_of[timer.fn] = chains
    end
    timer.next = chains[timer.key]
    chains[timer.key] = timer
end

local function unlink_timer(timer)
    local chains = timers_of[timer.fn]
    local other = chains[timer.key]
    if other == timer then
        chains[timer.key] = timer.next
        return
    end
    while other.next ~= timer do
        other = other.next
    end
    other.next = timer.next
end

local function stop_timer(timer)
    unlink_timer(timer)
    disarm(timer.id)
end

local function has_arguments(timer, n, ...)
    if timer.n ~= n then
        return false
    end
    for i = 2, n do -- the first one is the chain's key
        if not rawequal(timer[i], (select(i, ...))) then
            return false
        end
    end
    return true
end

local function find_timer(fn, key, n, ...)
    local chains = timers_of[fn]
    local timer = chains and chains[key]
    while timer and not has_arguments(timer, n, ...) do
        timer = timer.next
    end
    return timer
end

local function start_timer(fn, ms, period, ...)
    local n = select("#", ...)
    local key = chain_key(n, (...))
    local running_one = find_timer(fn, key, n, ...)
    if running_one then
        stop_timer(running_one)
    end
    local timer = {
        fn = fn, n = n, key = key, period = period, id = 0, next = nil,
        due = period and rtos.tick() + ms * TICKS_PER_MS,
        ...,
    }
    timer.id = arm(timer, ms)
    link_timer(timer)
    return timer.id
end

-- Starts the next beat of a loop timer, counted from when this one was due, not from now. Beats
-- that were missed altogether are left out.
local function beat(timer)
    local now, period = rtos.tick(), timer.period * TICKS_PER_MS
    local due = timer.due + period
    if due <= now then
        due = due + (floor((now - due) / period) + 1) * period
    elseif due - now > 2 * period then -- the tick counter has wrapped
        due = now + period
    end
    timer.due = due
    start_rtos_timer(timer.id, math.max(1, floor((due - now) / TICKS_PER_MS + 0.5)))
end

-- True while a handler or a timer's function runs: its error ends that call only.
local is_calling = false

-- False when the id is not ours.
local function fire(id)
    local entry = timers[id]
    if entry == nil then
        return false
    end
    local rest = remaining[id]
    if not rest and type(entry) == "thread" then
        timers[id] = nil
        resume(entry, nil)
        return true
    end
    is_calling = true
    if rest then
        remaining[id] = nil
        start_rtos_timer(id, rest)
    else
        if entry.period then
            beat(entry)
        else
            timers[id] = nil
            unlink_timer(entry)
        end
        entry.fn(unpack(entry, 1, entry.n))
    end
    is_calling = false
    return true
end

--- Starts a one-shot timer. A running one with the same function and arguments is stopped first.
-- @tparam function fn called from `sys.run`
-- @tparam number ms time in milliseconds
-- @param ... arguments for `fn`
-- @treturn number the timer's id
-- @raise an error when `fn` is not a function or `ms` not a number
function sys.timerStart(fn, ms, ...)
    if type(fn) ~= "function" then
        bad_argument(1, "timerStart", "function", fn)
    end
    return start_timer(fn, whole_ms(ms, 2, "timerStart"), nil, ...)
end

--- Starts a timer that fires again and again, without drift, until it is stopped.
-- @tparam function fn called from `sys.run`; an error in it does not end the timer
-- @tparam number ms period in milliseconds
-- @param ... arguments for `fn`
-- @treturn number the timer's id
-- @raise an error when `fn` is not a function or `ms` not a number
function sys.timerLoopStart(fn, ms, ...)
    if type(fn) ~= "function" then
        bad_argument(1, "timerLoopStart", "function", fn)
    end
    ms = whole_ms(ms, 2, "timerLoopStart")
    return start_timer(fn, ms, ms, ...)
end

local function timer_of(what, ...)
    if type(what) ~= "number" then
        local n = select("#", ...)
        return find_timer(what, chain_key(n, (...)), n, ...)
    end
    local entry = timers[what]
    return type(entry) == "table" and entry or nil
end

--- Stops a timer. It never fires any more, also if its time had run out already.
-- @tparam number|function what the timer's id, or its function
-- @param ... with a function: the same arguments that the timer was started with
function sys.timerStop(what, ...)
    local timer = timer_of(what, ...)
    if timer then
        stop_timer(timer)
    end
end

--- Stops all timers of a function, whatever their arguments.
-- @tparam function fn the timers' function
-- @raise an error when `fn` is not a function
function sys.timerStopAll(fn)
    if type(fn) ~= "function" then
        bad_argument(1, "timerStopAll", "function", fn)
    end
    for _, timer in pairs(timers_of[fn] or {}) do
        while timer do
            disarm(timer.id)
            timer = timer.next
        end
    end
    timers_of[fn] = nil
end

--- Is a timer running?
-- @tparam number|function what the timer's id, or its function
-- @param ... with a function: the same arguments that the timer was started with
-- @treturn boolean
function sys.timerIsActive(what, ...)
    return timer_of(what, ...) ~= nil
end

-- Published messages.

-- A message is { topic, ..., n = count }. They wait in `queue` from `head` to `tail`.
local queue, head, tail = {}, 1, 0

-- By topic: receivers (functions and tasks) in order, `false` where one has left, up to `n`;
-- `at` has each receiver's place.
local subscribers = {}

local function add_receiver(topic, receiver)
    local list = subscribers[topic]
    if not list then
        list = { n = 0, holes = 0, at = {}, delivering = 0 }
        subscribers[topic] = list
    end
    if not list.at[receiver] then
        list.n = list.n + 1
        list[list.n] = receiver
        list.at[receiver] = list.n
    end
end

local function compact(topic, list)
    if list.holes == list.n then
        subscribers[topic] = nil
        return
    end
    local n = 0
    for i = 1, list.n do
        local receiver = list[i]
        if receiver then
            n = n + 1
            list[n] = receiver
            list.at[receiver] = n
        end
    end
    for i = n + 1, list.n do
        list[i] = nil
    end
    list.n, list.holes = n, 0
end

local function compact_if_worth_it(topic, list)
    if list.delivering == 0 and 2 * list.holes > list.n then
        compact(topic, list)
    end
end

local function remove_receiver(topic, receiver)
    local list = subscribers[topic]
    local place = list and list.at[receiver]
    if place then
        list[place] = false
        list.at[receiver] = nil
        list.holes = list.holes + 1
        compact_if_worth_it(topic, list)
    end
end

local function deliver(message)
    local topic = message[1]
    local list = subscribers[topic]
    if not list then
        return
    end
    list.delivering = list.delivering + 1
    for i = 1, list.n do -- who subscribes meanwhile gets the next message
        local receiver = list[i]
        if type(receiver) == "function" then
            call(receiver, unpack(message, 2, message.n))
        elseif receiver and status(receiver) ~= "dead" then
            resume(receiver, unpack(message, 1, message.n))
        elseif receiver then
            remove_receiver(topic, receiver)
        end
    end
    list.delivering = list.delivering - 1
    compact_if_worth_it(topic, list)
end

local function deliver_round()
    for i = head, tail do
        local message = queue[i]
        queue[i] = nil
        head = i + 1
        deliver(message)
    end
    if head > tail then
        head, tail = 1, 0
    end
end

--- Publishes a message. It is delivered from `sys.run`, after all that were published before; what
-- is published from inside a subscriber is delivered in the next round.
-- @param topic any value but nil and NaN
-- @param ... what the subscribers get
-- @raise an error when `topic` is nil or NaN
function sys.publish(topic, ...)
    if topic == nil or topic ~= topic then
        error("bad argument #1 to 'publish' (topic expected)", 2)
    end
    tail = tail + 1
    queue[tail] = { n = select("#", ...) + 1, topic, ... }
end

local function check_subscription(name, topic, receiver)
    if topic == nil or topic ~= topic then
        error("bad argument #1 to '" .. name .. "' (topic expected)", 3)
    end
    if type(receiver) ~= "function" and type(receiver) ~= "thread" then
        error("bad argument #2 to '" .. name .. "' (function or task expected, got "
            .. type(receiver) .. ")", 3)
    end
end

--- Subscribes to a topic. Subscribing the same receiver again changes nothing.
-- @param topic any value but nil and NaN
-- @tparam function|thread receiver a function, called with what was published; or a task, which is
-- resumed with the topic and what was published
-- @raise an error when an argument is of the wrong kind
function sys.subscribe(topic, receiver)
    check_subscription("subscribe", topic, receiver)
    add_receiver(topic, receiver)
end

--- Ends a subscription. A message that is being delivered does not reach the receiver any more.
-- @param topic the topic
-- @tparam function|thread receiver what was subscribed
-- @raise an error when an argument is of the wrong kind
function sys.unsubscribe(topic, receiver)
    check_subscription("unsubscribe", topic, receiver)
    remove_receiver(topic, receiver)
end

-- Waiting.

local function end_wait(id, ...)
    if timers[id] then
        disarm(id)
    end
    return ...
end

--- Waits. To be called inside a task.
-- @tparam number ms time in milliseconds; 0 lets everything else that is due run first
-- @return nil when the time ran out, else what the task was resumed with
-- @raise an error outside a task, or when `ms` is not a number
function sys.wait(ms)
    local co = current_task("wait")
    return end_wait(arm(co, whole_ms(ms, 1, "wait")), yield())
end

-- Ends a wait for a topic: passes on what the task was resumed with, nil on time-out.
local function end_topic_wait(topic, co, id, ...)
    remove_receiver(topic, co)
    if id and timers[id] then
        disarm(id)
    end
    return ...
end

local function wait_for_topic(name, topic, ms)
    local co = current_task(name, 4)
    if topic == nil or topic ~= topic then
        error("bad argument #1 to '" .. name .. "' (topic expected)", 3)
    end
    local id = ms and arm(co, whole_ms(ms, 2, name, 5))
    add_receiver(topic, co)
    return end_topic_wait(topic, co, id, yield())
end

local function found(first, ...)
    if first == nil then
        return false
    end
    return true, ...
end

--- Waits until a topic is published. To be called inside a task.
-- @param topic the topic
-- @tparam[opt] number ms longest time in milliseconds; absent: no limit
-- @treturn boolean true, followed by what was published; false when the time ran out
-- @raise an error outside a task, or when an argument is of the wrong kind
function sys.waitUntil(topic, ms)
    return found(wait_for_topic("waitUntil", topic, ms))
end

local function message_or_false(first, ...)
    if first == nil then
        return false
    end
    return first, ...
end

--- Waits until a topic is published. To be called inside a task.
-- @param topic the topic
-- @tparam[opt] number ms longest time in milliseconds; absent: no limit
-- @return the topic, followed by what was published; false when the time ran out
-- @raise an error outside a task, or when an argument is of the wrong kind
function sys.waitUntilExt(topic, ms)
    return message_or_false(wait_for_topic("waitUntilExt", topic, ms))
end

-- The loop.

local handlers = {}

--- Registers the handler of a message id, in place of the one before; nil takes it away.
-- Socket messages come as the table that `rtos.receive` returned, others as its values after the
-- id.
-- @function rtos.on
-- @tparam number id one of the `rtos.MSG_*` constants
-- @tparam function|nil fn the handler, called from `sys.run`
function rtos.on(id, fn)
    if id == nil then
        error("bad argument #1 to 'on' (message id expected, got nil)", 2)
    end
    if fn ~= nil and type(fn) ~= "function" then
        bad_argument(2, "on", "function", fn)
    end
    handlers[id] = fn
end

local function call_handler(handler, ...)
    if handler then
        is_calling = true
        handler(...)
        is_calling = false
    end
end

local function dispatch(message, ...)
    if message == rtos.MSG_TIMER and fire(...) then
        return
    elseif tonumber(message) then -- cheaper than type(), which makes a string
        call_handler(handlers[message], ...)
    else
        call_handler(handlers[message.id], message)
    end
end

--- Says in the log what starts; scripts call it right before `sys.run`.
-- @tparam[opt] number mode how a device was switched on matters to its firmware only
-- @tparam[opt] number lowpower likewise
function sys.init(mode, lowpower)
    local project, version = rawget(_G, "PROJECT"), rawget(_G, "VERSION")
    log.info("sys.init", tostring(project or "no PROJECT"), tostring(version or "no VERSION"),
        rtos.get_version and rtos.get_version() or "", "power on reason",
        rtos.poweron_reason and rtos.poweron_reason() or "unknown", "mode", mode or 0,
        "low power", lowpower or 0)
end

--- Restarts the device; on the host the process ends.
-- @tparam[opt] string why the reason, for the log
function sys.restart(why)
    log.warn("sys.restart", why)
    rtos.restart()
end

local is_running = false

local function loop()
    while true do
        if head <= tail then
            deliver_round()
        end
        if failure then
            local message = failure[1]
            failure = nil
            error(message, 0)
        end
        if head <= tail then
            -- Messages that publish messages do not keep timers and sockets waiting.
            dispatch(rtos.receive(0))
        elseif rtos.idle and rtos.idle() then
            return
        else
            dispatch(rtos.receive(rtos.INF_TIMEOUT))
        end
    end
end

local function report_call(message)
    if is_calling then
        handle_error(message, debug.traceback(tostring(message), 2))
    end
    return message
end

-- What a task waits for, and where: the first of its functions that is not of a file beside this
-- one, or else of another file than this one.
local own_source = debug.getinfo(1, "S").source
local own_directory = own_source:match("^(.*/)[^/]*$") or own_source

local function find_wait(co, is_own)
    local level, caller_of = 0, nil
    local info = debug.getinfo(co, level, "Snl")
    while info and (info.currentline <= 0 or is_own(info.source)) do
        caller_of = info.name or caller_of
        level = level + 1
        info = debug.getinfo(co, level, "Snl")
    end
    return info, caller_of
end

local function describe_wait(co, topic)
    local info, name = find_wait(co, function(source)
        return (source:match("^(.*/)[^/]*$") or source) == own_directory
    end)
    if not info then
        info, name = find_wait(co, function(source) return source == own_source end)
    end
    local line = info and info.currentline
    if not info then -- the task's function has left the stack by a tail call
        info = debug.getinfo(tasks[co], "S")
        line = info.linedefined
    end
    return "waits " .. (topic ~= nil and "for topic " .. tostring(topic) or "in " .. (name or "?"))
        .. " at " .. info.short_src .. ":" .. line
end

--- Says what the tasks wait for that have not ended, for whoever looks for the reason of a stop.
-- @treturn {string,...} a line such as `waits for topic READY at main.lua:12` for each such place,
-- with how many tasks wait there when they are more than one
-- @treturn number how many tasks that are
function sys.waiting()
    local topics = {}
    for topic, list in pairs(subscribers) do
        for receiver in pairs(list.at) do
            topics[receiver] = topic
        end
    end
    local lines, counts, total = {}, {}, 0
    for co in pairs(tasks) do
        if status(co) == "suspended" then
            local line = describe_wait(co, topics[co])
            if not counts[line] then
                lines[#lines + 1] = line
            end
            counts[line] = (counts[line] or 0) + 1
            total = total + 1
        end
    end
    table.sort(lines)
    for i, line in ipairs(lines) do
        if counts[line] > 1 then
            lines[i] = line .. " (" .. counts[line] .. " tasks)"
        end
    end
    return lines, total
end

local function say_who_waits()
    local lines, total = sys.waiting()
    local text = total > 0 and ("sys.run: nothing can wake %d task%s any more:\n    %s")
        :format(total, total > 1 and "s" or "", table.concat(lines, "\n    ")) or nil
    if runner then
        runner.ended(text)
    elseif text then
        log.warn("sys", text)
    end
end

--- Runs everything: delivers what was published, then takes the next message, for ever.
-- Returns only where `rtos.idle` exists (on the host) and says that no timer is armed, no message
-- queued and no socket open: nothing could ever wake a task then. Tasks that still wait are named.
-- @raise what a function given to `sys.onError` raised; on the host, when called inside `pcall` or
-- `xpcall`, also the first error of a task, handler, subscriber or timer
function sys.run()
    local was_calling, was_running = is_calling, is_running
    is_calling, is_running = false, true
    if runner then
        runner.has_run = true
    elseif rtos.idle and not was_running then
        throws = is_caught()
        if not throws and not on_error then
            failure = nil
        end
    end
    -- One protected call for as many messages as go well.
    while true do
        local ok, message = xpcall(loop, report_call)
        if ok then
            is_calling, is_running = was_calling, was_running
            say_who_waits()
            return
        elseif not is_calling then
            is_running = was_running
            error(message, 0) -- of rtos.receive, as when it was interrupted; or `failure`
        end
        is_calling = false
    end
end

_G.sys = sys
return sys
