--- Is there a network link?
-- On a device the firmware's own `link` switches the modem's data connection on; here the port
-- keeps the link up, and this module says so in the names that scripts wait for.
--
-- Published topics: `IP_READY_IND` once from the first round of `sys.run`, and `IP_ERROR_IND` when
-- the platform reports that the link was lost.
--
-- SPDX-License-Identifier: MIT
-- @module link

local rtos = rawget(_G, "rtos") or require "rtos"
local sys = require "sys"

local link = {}
local ready = true

--- Can sockets be opened?
-- @treturn boolean true while the link is up
function link.isReady()
    return ready
end

if rtos.MSG_PDP_DEACT_IND then
    rtos.on(rtos.MSG_PDP_DEACT_IND, function()
        ready = false
        sys.publish("IP_ERROR_IND")
    end)
end

if rtos.MSG_PDP_ACT_CNF then
    rtos.on(rtos.MSG_PDP_ACT_CNF, function()
        ready = true
        sys.publish("IP_READY_IND")
    end)
end

sys.publish("IP_READY_IND")

_G.link = link
return link
