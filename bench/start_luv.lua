--- What the bench starts to see how long it takes: connects to the port and says so.
--
-- SPDX-License-Identifier: MIT

local uv = require "luv"
local client = uv.new_tcp()
assert(client:connect("127.0.0.1", tonumber(arg[1]), function(err)
    assert(not err, err)
    io.write("connected\n")
    io.flush()
    client:close()
end))
uv.run()
