# Prints the name among the lines of its input that is most like `wanted`, or nothing when none is
# like it: one that ends in _wanted, or differs by few letters. Upper and lower case are the same.
# SPDX-License-Identifier: MIT

function smallest(a, b, c)
{
    if (b < a)
        a = b
    return c < a ? c : a
}

# How many letters have to be put in, taken out or replaced to make b of a.
function distance(a, b,    i, j, above, diagonal, row, cost)
{
    for (j = 0; j <= length(b); j++)
        row[j] = j
    for (i = 1; i <= length(a); i++) {
        diagonal = row[0]
        row[0] = i
        for (j = 1; j <= length(b); j++) {
            above = row[j]
            cost = substr(a, i, 1) != substr(b, j, 1)
            row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + cost)
            diagonal = above
        }
    }
    return row[length(b)]
}

BEGIN {
    wanted = toupper(wanted)
    least = int(length(wanted) / 4) + 1
}

{
    name = toupper($0)
    away = distance(wanted, name)
    tail = "_" wanted
    if (length(name) > length(tail) && substr(name, length(name) - length(tail) + 1) == tail)
        away = 1
    if (away < least || away == least && !nearest) {
        least = away
        nearest = $0
    }
}

END {
    if (nearest)
        print nearest
}
