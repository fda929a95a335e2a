--- What the bench starts to see how long it takes: connects to the port and says so.
--
-- SPDX-License-Identifier: MIT

local id = assert(socketcore.sock_conn(0, "127.0.0.1", tonumber(arg[1])))
local message = rtos.receive(10000)
assert(message.id == rtos.MSG_SOCK_CONN_CNF and message.result == 0 and message.socket_index == id,
    message.reason)
io.write("connected\n")
io.flush()
