--- What the bench starts to see how long it takes: connects to the port and says so.
--
-- SPDX-License-Identifier: MIT

local client = assert(require("socket").tcp())
client:settimeout(10)
assert(client:connect("127.0.0.1", arg[1]))
io.write("connected\n")
io.flush()
