# Sourced by dev: configures and builds one preset. Everything it prints goes to stderr.
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # root is dev's

presets='release portable asan tsan lua53 lua54'

is_preset()
{
    case " $presets " in
    *" $1 "*) return 0 ;;
    *) return 1 ;;
    esac
}

cached_value()
{
    sed -n "s/^$2:[A-Z]*=//p" "$root/build/$1/CMakeCache.txt" 2>/dev/null
}

# source_tree PRESET VARIABLE LIBRARY MARKER: the tree to build from. What the environment names
# comes first, then what this build directory was told, then Debian's.
source_tree()
{
    eval "tree=\${$2:-}"
    if [ -z "$tree" ]; then
        tree=$(cached_value "$1" "$2")
        if [ -z "$tree" ] || [ ! -f "$tree/$4" ]; then
            need_packages build build sources
            tree=$(sh "$root/tools/sources.sh" "$3") || exit 1
        fi
    elif [ ! -f "$tree/$4" ]; then
        die "$2=$tree is not the source tree of $3: it has no $4."
    else
        tree=$(CDPATH='' cd -- "$tree" && pwd -P)
    fi
}

is_configured()
{
    [ -f "$root/build/$1/build.ninja" ] &&
        [ "$(cached_value "$1" CMAKE_HOME_DIRECTORY)" = "$root" ] &&
        [ "$(cached_value "$1" LWIP_DIR)" = "$lwip_tree" ] &&
        [ "$(cached_value "$1" MBEDTLS_DIR)" = "$mbedtls_tree" ]
}

# A unit test library that was missing when the directory was configured may be there now.
lacks_cmocka()
{
    case $(cached_value "$1" CMOCKA_LIBRARY) in
    *NOTFOUND) return 0 ;;
    *) return 1 ;;
    esac
}

# The options that a build directory was given, one -DNAME=VALUE a line, are in build/PRESET.options
# and stay until `./dev build --defaults`. A source tree is among them unless it is Debian's.

# all_options [-DNAME=VALUE...]: those and these; of several with one name the last.
all_options()
{
    {
        grep -Ev '^-D(LWIP|MBEDTLS)_DIR=' "$options" 2>/dev/null || true
        [ $# -eq 0 ] || printf '%s\n' "$@"
        [ "$lwip_tree" = "$(cache_dir)/lwip-2.2" ] || printf '%s\n' "-DLWIP_DIR=$lwip_tree"
        [ "$mbedtls_tree" = "$(cache_dir)/mbedtls-3.6" ] ||
            printf '%s\n' "-DMBEDTLS_DIR=$mbedtls_tree"
    } | awk '{
            name = $0
            sub(/[:=].*/, "", name)
            if (!(name in last))
                names[++count] = name
            last[name] = $0
        }
        END {
            for (i = 1; i <= count; i++)
                print last[names[i]]
        }'
}

# tell_options PRESET: says so when it is not built with the defaults.
tell_options()
{
    [ -s "$root/build/$1.options" ] || return 0
    preset_word=
    [ "$1" = release ] || preset_word=" $1"
    say "built with$(sed 's/^-D/ /' "$root/build/$1.options" | tr -d '\n')" \
        "(./dev build$preset_word --defaults resets)"
}

# The next build starts from the options of before.
undo_configuring()
{
    rm -f "$options.new" "$cache" "$root/build/$preset/build.ninja"
}

# The options that were given and that nothing has asked for, as cmake says in LOG.
unused_options()
{
    awk '/Manually-specified variables were not used/ { is_list = 1; next }
        is_list && /^    [^ ]/ { print $1 }
        /^[^ ]/ { is_list = 0 }' "$1"
}

# refuse_unused NAME...
refuse_unused()
{
    known=$(sed -n 's/^\([A-Za-z][A-Za-z0-9_]*\):\(BOOL\|STRING\|PATH\|FILEPATH\)=.*/\1/p' "$cache")
    undo_configuring
    for unused; do
        nearest=$(printf '%s\n' "$known" | awk -v wanted="$unused" -f "$root/tools/nearest.awk")
        say "dev: there is no build option $unused.${nearest:+ Did you mean $nearest?}"
    done
    known=$(printf '%s\n' "$known" | grep -E '^(SC_DEFAULT_|SOCKETCORE_|LWIP_DIR|MBEDTLS_DIR)')
    die "nothing was built. The options of this project:" \
        "$(printf '%s\n' "$known" | paste -s -d ' ' | fold -s -w 90 | sed '2,$s/^/     /')"
}

# configure PRESET [-DNAME=VALUE...]
configure()
{
    preset=$1
    shift
    options=$root/build/$preset.options
    cache=$root/build/$preset/CMakeCache.txt
    if [ "${is_reset:-no}" = yes ]; then
        rm -f "$options" "$cache"
    fi
    source_tree "$preset" LWIP_DIR lwip src/core/tcp_in.c
    lwip_tree=$tree
    source_tree "$preset" MBEDTLS_DIR mbedtls library/ssl_msg.c
    mbedtls_tree=$tree
    if [ $# -eq 0 ] && is_configured "$preset" && ! lacks_cmocka "$preset"; then
        return 0
    fi
    step "Configuring $preset in build/$preset"
    all_options "$@" >"$options.new"
    set --
    while IFS= read -r option; do
        set -- "$@" "$option"
    done <"$options.new"
    configure_log="$root/build/$preset.configure.log"
    # --fresh: nothing counts but these options, and a clone may have been moved.
    if (cd "$root" && LC_ALL=C.UTF-8 cmake --fresh --preset "$preset" "$@" \
        "-DLWIP_DIR=$lwip_tree" "-DMBEDTLS_DIR=$mbedtls_tree") >"$configure_log" 2>&1; then
        # shellcheck disable=SC2046 # a list of words
        set -- $(unused_options "$configure_log")
        [ $# -eq 0 ] || refuse_unused "$@"
        mv "$options.new" "$options"
        grep 'no unit tests' "$configure_log" >&2 || true
        rm -f "$configure_log"
        return 0
    fi
    tail -n 30 "$configure_log" >&2
    undo_configuring
    die_if_full "$configure_log" "$root/build"
    die "cmake could not configure $preset; the reason is above." \
        "If it talks about files that are gone, run ./dev clean and try again."
}

# has_newer THAN FILE...: is one of them newer? Names without a file are not.
# shellcheck disable=SC3013 # dash, bash and busybox have -nt
has_newer()
{
    than=$1
    shift
    for name; do
        [ "$name" -nt "$than" ] && return 0
    done
    return 1
}

# is_tree_as_built TREE: Debian's in the cache only changes as a whole.
is_tree_as_built()
{
    case $1 in
    "${XDG_CACHE_HOME:-${HOME:-}/.cache}"/socketcore/*)
        [ -d "$1" ] && ! has_newer "$built" "$1" "${1%/*}"
        ;;
    *) [ -z "$(find "$1" -newer "$built" -print -quit 2>&1)" ] ;;
    esac
}

# is_up_to_date PRESET: is it certain, without looking long, that a build would do nothing? The file
# build/PRESET.built is as old as the last build's beginning and names the trees of lwIP and mbedTLS.
# A directory is newer once a file in it has come or gone, dpkg's once a package has.
is_up_to_date()
{
    [ -z "${LWIP_DIR:-}${MBEDTLS_DIR:-}" ] || return 1
    built=$root/build/$1.built
    [ -f "$built" ] && [ -f "$root/build/$1/socketcore.so" ] && [ -f "$root/build/$1/rtos.so" ] ||
        return 1
    { IFS= read -r lwip_tree && IFS= read -r mbedtls_tree; } <"$built" || return 1
    ! has_newer "$built" "$root/dev" "$root"/CMake* "$root/tools" "$root"/tools/* \
        "$root/include" "$root"/include/* "$root/src" "$root"/src/* "$root"/src/*/* \
        "$root"/src/*/*/* "$root"/src/*/*/*/* "$root"/src/*/*/*/*/* /var/lib/dpkg/status &&
        is_tree_as_built "$lwip_tree" && is_tree_as_built "$mbedtls_tree"
}

# The first build takes a minute and shows it; later ones speak only when they fail.
run_build()
{
    build_log="$root/build/$preset.build.log"
    if [ -f "$root/build/$preset/socketcore.so" ] || [ ! -t 2 ]; then
        [ -f "$root/build/$preset/socketcore.so" ] || step "Building $preset"
        # shellcheck disable=SC2086 # a list of words
        LC_ALL=C.UTF-8 cmake --build "$root/build/$preset" --target $build_targets -- --quiet \
            >"$build_log" 2>&1 && return
        cat "$build_log" >&2
    else
        # shellcheck disable=SC2086
        cmake --build "$root/build/$preset" --target $build_targets >&2 && return
        # What a terminal has got cannot be read; what has failed fails once more, with its reason.
        # shellcheck disable=SC2086
        LC_ALL=C.UTF-8 cmake --build "$root/build/$preset" --target $build_targets \
            >"$build_log" 2>&1 && return
    fi
    die_if_full "$build_log" "$root/build" "${TMPDIR:-/tmp}"
    die "building $preset failed; the compiler's messages are above." \
        "After a fix, run the same command again. If it makes no sense, ./dev clean first."
}

configure_and_build()
{
    built=$root/build/$1.built
    rm -f "$built"
    configure "$@"
    # Older than all that the build looks at.
    printf '%s\n%s\n' "$lwip_tree" "$mbedtls_tree" >"$built.new"
    run_build
    mv "$built.new" "$built"
}

# What building PRESET takes, as groups of packages.sh, so that all are installed in one go.
groups_to_build()
{
    echo build
    case $1 in
    lua53 | lua54) echo "$1" ;;
    esac
    if ! sh "$root/tools/sources.sh" --have; then
        echo sources
    fi
}

# What a build makes: the modules. Tests want `all`.
build_targets='socketcore rtos'

# build_preset PRESET [cmake arguments]: up to date when it returns.
build_preset()
{
    # shellcheck disable=SC2046 # a list of words
    need_packages build $(groups_to_build "$1")
    with_lock "$root/build/$1.lock" configure_and_build "$@" || exit 1
    tell_options "$1"
}
