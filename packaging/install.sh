#!/bin/sh
# Installs Monocle @VERSION@ for this user, or for all if root runs it:
#
#   curl -fsSL ADDRESS/install.sh | sh
#
# It fetches the archive for this machine, checks its SHA-256 against the one below, unpacks it into a folder of its own,
# tries the program, and only then makes the link that people start. Versions lie beside each other; the link names one.
#
#   MONOCLE_FROM     where the archives are, instead of @FROM@
#   MONOCLE_PREFIX   where to install: PREFIX/lib/monocle/VERSION, and a link PREFIX/bin/monocle
#                    (without it, ~/.local; for root, /usr/local)
#
# `cargo xtask dist` writes this file from packaging/install.sh: version, address and hashes.
set -eu

version='@VERSION@'
from="${MONOCLE_FROM:-@FROM@}"

# Triples and hashes.
archives='
@ARCHIVES@
'

fail() {
    echo "error: $1" >&2
    exit 1
}

triple() {
    case "$(uname -s) $(uname -m)" in
        'Linux x86_64') echo x86_64-unknown-linux-gnu ;;
        'Linux aarch64') echo aarch64-unknown-linux-gnu ;;
        'Darwin arm64') echo aarch64-apple-darwin ;;
        *) fail "there is no archive for $(uname -s) on $(uname -m): build Monocle from source, see its README" ;;
    esac
}

# What an address has, into a file.
fetch() {
    if command -v curl >/dev/null 2>&1; then
        curl -fsSL --retry 2 -o "$2" "$1"
    elif command -v wget >/dev/null 2>&1; then
        wget -q -O "$2" "$1"
    else
        fail 'neither curl nor wget is here to fetch the archive'
    fi
}

sha256() {
    if command -v sha256sum >/dev/null 2>&1; then
        sha256sum "$1"
    elif command -v shasum >/dev/null 2>&1; then
        shasum -a 256 "$1"
    else
        fail 'neither sha256sum nor shasum is here to check the archive with'
    fi
}

main() {
    case "$from" in
        https://* | http://127.0.0.1:* | http://localhost:*) ;;
        '') fail 'MONOCLE_FROM must say where the archives are, like https://example.org/monocle' ;;
        *) fail "the archives must come by https, not from $from" ;;
    esac
    command -v tar >/dev/null 2>&1 || fail 'tar is missing'
    triple=$(triple)
    expected=$(echo "$archives" | while read -r one hash; do
        if [ "$one" = "$triple" ]; then echo "$hash"; fi
    done)
    [ -n "$expected" ] || fail "this release has no archive for $triple"
    if [ -n "${MONOCLE_PREFIX:-}" ]; then
        prefix=$MONOCLE_PREFIX
    elif [ "$(id -u)" = 0 ]; then
        prefix=/usr/local
    else
        prefix=${HOME:?HOME is not set: MONOCLE_PREFIX must say where to install}/.local
    fi

    name="monocle-$version-$triple"
    place="$prefix/lib/monocle"
    mkdir -p "$place" "$prefix/bin" || fail "cannot write into $prefix"
    # Beside its place, so that it is moved there in one step.
    work="$place/.new-$$"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    mkdir "$work"

    echo "fetching $from/$name.tar.xz"
    fetch "$from/$name.tar.xz" "$work/archive" || fail "cannot fetch $from/$name.tar.xz"
    found=$(sha256 "$work/archive")
    found=${found%% *}
    [ "$found" = "$expected" ] || fail "the archive is not what was released: sha256 $found, expected $expected"
    tar -xJf "$work/archive" -C "$work" || fail 'cannot unpack the archive (tar needs xz for it)'

    # A system that is too old says so here, before anything is changed.
    "$work/$name/bin/monocle" --version >/dev/null || fail 'the program does not run on this system'
    rm -rf "$place/$version"
    mv "$work/$name" "$place/$version"
    ln -sf "../lib/monocle/$version/bin/monocle" "$prefix/bin/monocle"

    echo "Monocle $version is installed: $prefix/bin/monocle"
    for other in "$place"/*; do
        [ "$other" = "$place/$version" ] || [ ! -d "$other" ] || echo "another version is there, too: $other"
    done
    case ":$PATH:" in
        *":$prefix/bin:"*) ;;
        *) echo "hint: $prefix/bin is not on the PATH" ;;
    esac
    echo "try: monocle run shapes $place/$version/share/monocle/models/shapes/pictures/shapes.png"
}

# The last line: of a script that was cut off on its way, nothing is done.
main
