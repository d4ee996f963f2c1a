#!/usr/bin/env bash
# Installs what Callsheet needs and this machine lacks; quick and silent when all is there.
# With --for-tests also what only the tests need (rustfmt and clippy). The sandbox, bubblewrap, is
# installed where that works; without it all else does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
    printf 'error: %s\n' "$1" >&2
    printf 'hint: %s\n' "$2" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# True when version $1 is at least $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# The word models that Debian's recogniser comes with; CALLSHEET_MODEL_DIR points elsewhere.
has_speech_model() {
    [ -d "${CALLSHEET_MODEL_DIR:-/usr/share/pocketsphinx/model/en-us}" ]
}

has_font() {
    if has fc-list; then [ -n "$(fc-list 2>/dev/null | head -n 1)" ]; else
        compgen -G '/usr/share/fonts/*/*/*.[to]tf' >/dev/null
    fi
}

# Names of the Debian packages whose tools are not here.
missing_packages() {
    has cc && has ar || echo build-essential
    has ffmpeg && has ffprobe || echo ffmpeg
    has flite || echo flite
    has pocketsphinx_continuous || echo pocketsphinx
    has_speech_model || echo pocketsphinx-en-us
    has_font || echo fonts-dejavu-core
}

may_become_root() { [ "$(id -u)" = 0 ] || has sudo; }

# How to become root: `as_root` holds the words that go before a command.
become_root() {
    if [ "$(id -u)" = 0 ]; then
        as_root=()
    elif ! has sudo; then
        fail "these are missing here, and installing them takes root: ${packages[*]}" \
            "run as root: apt-get install ${packages[*]}"
    elif [ -t 0 ]; then
        as_root=(sudo)
    else
        as_root=(sudo -n)
    fi
}

apt_install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq \
        -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@" >&2
}

install_packages() {
    if ! has apt-get; then
        fail "these are missing here: ${packages[*]} (names of Debian's packages)" \
            'install them with the package manager of this system, then try again'
    fi
    become_root
    say "installing ${packages[*]}"
    # Package lists may be absent or old: only then is it worth fetching them.
    apt_install "${packages[@]}" 2>/dev/null || {
        say 'fetching the package lists first'
        "${as_root[@]}" apt-get -qq update >&2 ||
            fail 'apt-get could not fetch the package lists' 'look at what it said above'
        apt_install "${packages[@]}" || fail "apt-get could not install ${packages[*]}" \
            'look at what it said above'
    }
    local left
    left=$(missing_packages | tr '\n' ' ')
    [ -z "$left" ] || fail "still missing after the installation: $left" \
        'look at what apt-get said above'
}

# The sandbox comes along with what is installed anyway, and for the tests. Where it cannot be had
# Callsheet works without it, so that is a note.
install_sandbox() {
    has bwrap && return
    if has apt-get && may_become_root; then
        become_root
        # Nobody is asked for a password for its sake alone.
        [ "${#as_root[@]}" = 0 ] || as_root=(sudo -n)
        say 'installing bubblewrap'
        apt_install bubblewrap 2>/dev/null || {
            "${as_root[@]}" apt-get -qq update >&2 && apt_install bubblewrap
        } || true
    fi
    has bwrap || say 'note: without bubblewrap ffmpeg runs without a sandbox; all else works'
}

check_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    has cargo && has rustc || fail "Rust is not installed; version $wanted or newer is needed" \
        'install it from https://rustup.rs'
    found=$(rustc --version | awk '{print $2}')
    at_least "${found%%-*}" "$wanted" || fail "Rust $found is too old; $wanted or newer is needed" \
        'rustup update stable'
}

check_components() {
    local component
    for component in rustfmt clippy; do
        cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 && continue
        has rustup || fail "cargo has no $component" "install the $component of this Rust"
        say "installing $component"
        rustup component add "$component" >&2
    done
}

# Captions are drawn by libass and encoded by x264; some builds of ffmpeg have neither.
check_ffmpeg() {
    local filters encoders
    filters=$(ffmpeg -hide_banner -filters 2>/dev/null)
    encoders=$(ffmpeg -hide_banner -encoders 2>/dev/null)
    grep -q ' subtitles ' <<<"$filters" || fail 'this ffmpeg cannot draw subtitles' \
        'install one that was built with libass'
    grep -q ' libx264 ' <<<"$encoders" || fail 'this ffmpeg cannot encode H.264' \
        'install one that was built with libx264'
}

mapfile -t packages < <(missing_packages)
[ "${#packages[@]}" = 0 ] || install_packages
if [ "${#packages[@]}" != 0 ] || [ "${1:-}" = --for-tests ]; then install_sandbox; fi
check_rust
[ "${1:-}" != --for-tests ] || check_components
check_ffmpeg
