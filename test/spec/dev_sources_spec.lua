-- Where the sources of lwIP and mbedTLS come from, and what is said when they do not come. An
-- apt-get of its own stands in for Debian's archive.
-- SPDX-License-Identifier: MIT
local commands = require "test.support.commands"
local quoted, shell, must, write = commands.quoted, commands.shell, commands.must, commands.write

local root = os.getenv "SC_ROOT"

-- $ARCHIVE/RELEASE names what a release has; without that file it is not there.
local APT_GET = [[
#!/bin/sh
while [ "$1" != update ] && [ "$1" != source ]; do
    case $1 in
    -c) conf=$2 ;;
    esac
    shift
done
work=$(dirname "$conf")
release=$(sed -n 's/^Suites: //p' "$work/parts/debian.sources")
case $1 in
update)
    [ -f "$ARCHIVE/$release" ] || { echo "E: no release $release"; exit 100; }
    printf 'Origin: Debian\nLabel: Debian\n' > "$work/lists/${release}_Release"
    ;;
source)
    if [ -s "$ARCHIVE/fault" ]; then
        cat "$ARCHIVE/fault"
        exit 100
    fi
    for tree in $(cat "$ARCHIVE/$release"); do
        mkdir -p "$tree/src/core" "$tree/library"
        touch "$tree/src/core/tcp_in.c" "$tree/library/ssl_msg.c"
    done
    ;;
esac
]]

describe("tools/sources.sh", function()
    if os.getenv "SC_SUITE" ~= "release" then
        return
    end

    local place

    -- Fetches with these releases as the tested ones.
    local function fetch(tested)
        must(("sed -i \"s/^tested=.*/tested='%s'/\" %s/tools/sources.sh"):format(tested, place))
        return shell(("cd %s && rm -rf cache && PATH=$PWD/bin:$PATH ARCHIVE=$PWD/archive "
            .. "XDG_CACHE_HOME=$PWD/cache sh tools/sources.sh lwip"):format(place))
    end

    local function release(name, trees)
        write(place .. "/archive/" .. name, trees)
    end

    before_each(function()
        place = must "mktemp -d"
        must(("mkdir %s/bin %s/archive"):format(place, place))
        must(("cp -R %s/tools %s"):format(quoted(root), place))
        write(place .. "/bin/apt-get", APT_GET)
        must(("chmod +x %s/bin/apt-get"):format(place))
    end)
    after_each(function()
        must("rm -rf " .. place)
    end)

    it("takes the newest of the tested releases that is there", function()
        release("trixie", "lwip-2.2.1+dfsg1 mbedtls-3.6.6")
        local output, status = fetch "forky:2.2.1:3.6.7 trixie:2.2.1:3.6.6"
        assert.equal(0, status, output)
        assert.truthy(output:find("    lwip 2.2.1+dfsg1 is in ", 1, true), output)
        assert.falsy(output:find("tested", 1, true), output)
        release("forky", "lwip-2.2.1 mbedtls-3.6.7")
        output, status = fetch "forky:2.2.1:3.6.7 trixie:2.2.1:3.6.6"
        assert.equal(0, status, output)
        assert.truthy(output:find("    mbedtls 3.6.7 is in ", 1, true), output)
    end)

    it("passes over a release that has other series by now", function()
        release("forky", "lwip-2.3.0 mbedtls-4.0.0")
        release("trixie", "lwip-2.2.1 mbedtls-3.6.6")
        local output, status = fetch "forky:2.2.1:3.6.7 trixie:2.2.1:3.6.6"
        assert.equal(0, status, output)
        assert.truthy(output:find("    mbedtls 3.6.6 is in ", 1, true), output)
    end)

    it("says which version was tested when it gets another one of the same series", function()
        release("trixie", "lwip-2.2.1 mbedtls-3.6.9")
        local output, status = fetch "trixie:2.2.1:3.6.6"
        assert.equal(0, status, output)
        assert.truthy(output:find("mbedtls 3.6.6 is the version that was tested", 1, true), output)
        assert.falsy(output:find("lwip 2.2.1 is the version", 1, true), output)
    end)

    it("says what is there when no release has what is needed", function()
        release("trixie", "lwip-2.3.0 mbedtls-3.6.6")
        local output, status = fetch "trixie:2.2.1:3.6.6"
        assert.equal(1, status)
        assert.truthy(output:find("it has: lwip-2.3.0 mbedtls-3.6.6", 1, true), output)
    end)

    it("tells a full disk from a fault of the network", function()
        release("trixie", "")
        for fault, words in pairs {
            ["E: Failed to fetch: Connection refused"] = "Check the network",
            ["dpkg-source: cannot write: No space left on device"] = "the disk is full",
            ["E: You don't have enough free space in /x/archives/."] = "the disk is full",
            ["tar: src/a.c: Cannot write: Disk quota exceeded"] = "the disk is full",
        } do
            write(place .. "/archive/fault", fault .. "\n")
            local output, status = fetch "trixie:2.2.1:3.6.6"
            assert.equal(1, status)
            assert.truthy(output:find(words, 1, true), output)
            assert.equal(words == "Check the network", output:find("Check the network", 1, true)
                ~= nil, output)
        end
    end)
end)
