# Reads one file of apt sources, deb822 (*.sources) or one-line (*.list), and writes for each entry
# that may be Debian's main archive a file out/candidate-RANK-N.sources: the deb-src entry of
# `release` at the same place, with the same keyring. Rank 0 is surely meant as Debian's.
# SPDX-License-Identifier: MIT

function known_suite(suite)
{
    return suite == codename ||
        suite ~ /^(stable|oldstable|oldoldstable|testing|unstable|sid|bookworm|trixie|forky|duke)$/
}

# Lists are words between blanks; true when one of them is a Debian suite, or is main.
function has_suite(list,    words, count, i)
{
    count = split(list, words, " ")
    for (i = 1; i <= count; i++)
        if (words[i] != "" && known_suite(words[i]))
            return 1
    return 0
}

function candidate(uri, suites, components, signed,    rank, name)
{
    if (uri !~ /^(https?|file|mirror\+[a-z+]+|mirror|tor\+https?|ftp|copy):/)
        return
    if (!has_suite(suites) || (" " components " ") !~ / main /)
        return
    rank = (signed ~ /debian-archive/ || uri ~ /\/debian\/?$/) ? 0 : 1
    name = FILENAME
    gsub(/[^A-Za-z0-9]/, "_", name)
    name = out "/candidate-" rank "-" name "-" (++written) ".sources"
    print "Types: deb-src" > name
    print "URIs: " uri > name
    print "Suites: " release > name
    print "Components: main" > name
    if (signed != "")
        print "Signed-By: " signed > name
    close(name)
}

function end_stanza(    uris, count, i)
{
    if (fields["types"] != "" && tolower(fields["enabled"]) !~ /^(no|false|off|0|without|disable)$/) {
        count = split(fields["uris"], uris, /[ \n]+/)
        for (i = 1; i <= count; i++)
            if (uris[i] != "")
                candidate(uris[i], flat(fields["suites"]), flat(fields["components"]),
                    fields["signed-by"])
    }
    split("", fields)
    field = ""
}

function flat(text)
{
    gsub(/[ \t\n]+/, " ", text)
    return text
}

function one_line(    line, options, signed, words, count, i, components)
{
    line = $0
    sub(/#.*/, "", line)
    if (line !~ /^[ \t]*deb(-src)?[ \t]/)
        return
    sub(/^[ \t]*deb(-src)?[ \t]+/, "", line)
    signed = ""
    if (match(line, /^\[[^]]*\]/)) {
        options = substr(line, 2, RLENGTH - 2)
        line = substr(line, RLENGTH + 1)
        if (match(options, /signed-by=[^ \t]+/)) {
            signed = substr(options, RSTART + 10, RLENGTH - 10)
            gsub(/,/, " ", signed)
        }
    }
    count = split(line, words, " ")
    components = ""
    for (i = 3; i <= count; i++)
        components = components " " words[i]
    candidate(words[1], words[2], components, signed)
}

BEGIN { split("", fields) }

FILENAME !~ /\.sources$/ { one_line(); next }

/^[ \t]*#/ { next }
/^[ \t]*$/ { end_stanza(); next }
/^[ \t]/ {
    # A continuation line; of a keyring inside the entry, every line counts.
    fields[field] = fields[field] "\n" $0
    next
}
{
    field = tolower(substr($0, 1, index($0, ":") - 1))
    value = substr($0, index($0, ":") + 1)
    sub(/^[ \t]+/, "", value)
    sub(/[ \t]+$/, "", value)
    fields[field] = value
}

END { if (FILENAME ~ /\.sources$/) end_stanza() }
