-- Firmware modules set the global of their name; scripts use them without require.
std = "min"
max_line_length = 100
read_globals = { "rtos", "socketcore" }
exclude_files = { "build" }

files["lua"] = { globals = { "rtos", "sys", "socket", "log", "link" } }
files["examples"] = { read_globals = { "sys", "socket", "log", "link" } }
files["bench"] = { std = "max", read_globals = { "sys", "socket", "log", "link" } }
-- os.tmpname ignores TMPDIR, where tools/test.sh looks for what a spec has left behind.
files["test"] = { std = "max", read_globals = { "sys", "socket", "log", "link" },
    not_globals = { "os.tmpname" } }
files["tools"] = { std = "max" }
files["test/spec"] = { std = "max+busted" }
