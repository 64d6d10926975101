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
# It needs curl or wget, tar with xz, and sha256sum or shasum; on Linux glibc 2.17 or newer (not musl), on a Mac Apple's own processor and
# macOS 14 or newer.
#
# To remove it: rm PREFIX/bin/monocle, and rm -r PREFIX/lib/monocle (or one version's folder in it). What you made with it stays:
# ~/.config/monocle, ~/.local/share/monocle, ~/.cache/monocle (on a Mac ~/Library/Caches/monocle), and models in ~/.cache/huggingface.
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

# Stops where the system's C library is musl, and glibc's loader is not there beside it.
need_glibc() {
    [ ! -e "$1" ] || return 0
    for musl in /lib/ld-musl-*; do
        [ ! -e "$musl" ] || fail "this system's C library is musl, and the archives are for glibc: build Monocle from source, see its README"
    done
}

need_macos() {
    macos=$(sw_vers -productVersion)
    [ "${macos%%.*}" -ge 14 ] || fail "the archive is for macOS 14 and newer, and this is macOS $macos"
}

triple() {
    machine=$(uname -m)
    # A shell under Rosetta takes Apple's processor for Intel's.
    if [ "$(uname -s) $machine" = 'Darwin x86_64' ] && [ "$(sysctl -n hw.optional.arm64 2>/dev/null)" = 1 ]; then
        machine=arm64
    fi
    case "$(uname -s) $machine" in
        'Linux x86_64')
            need_glibc /lib64/ld-linux-x86-64.so.2
            echo x86_64-unknown-linux-gnu ;;
        'Linux aarch64')
            need_glibc /lib/ld-linux-aarch64.so.1
            echo aarch64-unknown-linux-gnu ;;
        'Darwin arm64')
            need_macos
            echo aarch64-apple-darwin ;;
        *) fail "there is no archive for $(uname -s) on $machine: build Monocle from source, see its README" ;;
    esac
}

# GNU's tar starts xz; others have it built in.
need_tar() {
    command -v tar >/dev/null 2>&1 || fail 'tar is missing'
    case "$(tar --version 2>/dev/null)" in
        *'GNU tar'*) command -v xz >/dev/null 2>&1 || fail 'xz is missing, with which tar unpacks the archive (on Debian: apt-get install xz-utils)' ;;
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
    need_tar
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
    tar -xJf "$work/archive" -C "$work" || fail 'cannot unpack the archive'

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
    echo "to remove it: rm $prefix/bin/monocle; rm -r $place/$version"
    echo "try: monocle run shapes $place/$version/share/monocle/models/shapes/pictures/shapes.png"
}

# The last line: of a script that was cut off on its way, nothing is done.
main
