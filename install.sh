#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Install vaultd on this Debian 12 machine, or take it off again. Run as root.
#
#   ./install.sh [--yes] [--no-pam] [--no-start]     build and install; asks before it changes PAM
#   ./install.sh --staged DIR [...]                  install what --destdir put into DIR, without building
#   ./install.sh --uninstall [--yes]                 remove all of it but state, keys and configuration
#   ./install.sh --destdir DIR                       build and put the files below DIR; configures nothing
#   ./install.sh --packages-only [PACKAGE...]        only install what a build needs, and PACKAGEs
#
# Everything goes through a staged tree, so that what is copied is also what is listed (in
# /usr/lib/vaultd/installed-files), and --uninstall or an upgrade removes exactly that. The key that wraps the vaults is
# made once and never overwritten: without it the vaults could not be opened again.

set -euo pipefail
umask 022

tree=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build_packages=(gcc libc6-dev meson ninja-build pkgconf python3 libpam0g-dev libsystemd-dev libcurl4-openssl-dev
                libjson-c-dev libgcrypt20-dev liblmdb-dev libmicrohttpd-dev libqrencode-dev)
manifest=/usr/lib/vaultd/installed-files
kek=/etc/credstore.encrypted/vaultd.kek
state=/var/lib/vaultd
sockets=(vaultd.socket vaultd-control.socket vaultd-webapi.socket vaultd-web.socket)
services=(vaultd.service vaultd-web.service)
watchers=(vaultd-accounts.path vaultd-accounts.timer)
scratch=

say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '4,11s/^#\( \{0,1\}\)//p' "${BASH_SOURCE[0]}"; }
is_booted() { [[ -d /run/systemd/system ]]; }
clean_up() { [[ -z $scratch ]] || rm -rf -- "$scratch"; }
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Install what of "$@" is not there yet, in one call; nothing happens when nothing is missing. A lock of our own, as
# apt-get waits for dpkg's lock only.
install_packages() {
        local missing=() package
        for package in "$@"; do
                [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
        done
        (( ${#missing[@]} )) || return 0
        say "Installing Debian packages: ${missing[*]}"
        (
                flock 9
                export DEBIAN_FRONTEND=noninteractive
                get() { apt-get -y -qq -o DPkg::Lock::Timeout=600 "$@" >/dev/null; }
                # Stale lists name versions that the mirror no longer has.
                get update
                get install --no-install-recommends "${missing[@]}"
        ) 9>/run/lock/vaultd-packages.lock
}

# Build a release and stage it below $1.
build_into() {
        local build=${VAULTD_RELEASE_BUILD:-$tree/build/release} setup=()
        [[ -e $build/build.ninja ]] && setup=(--reconfigure)
        # Where libpam looks for modules; meson would find it by itself only where dpkg-dev is installed.
        meson setup "${setup[@]}" "$build" "$tree" --prefix=/usr --libdir="lib/$(gcc -print-multiarch)" \
                --buildtype=release -Dtests=disabled -Dtest_hooks=false >"$scratch/meson.log" 2>&1 ||
                { cat "$scratch/meson.log" >&2; fail "meson setup failed"; }
        ninja -C "$build" >"$scratch/ninja.log" 2>&1 || { tail -n 60 "$scratch/ninja.log" >&2; fail "the build failed"; }
        DESTDIR=$1 meson install -C "$build" --no-rebuild --quiet
}

# Remove the files that the manifest $1 lists and the file list $2 does not. Only regular files and links, only ours.
remove_listed() {
        local path
        while IFS= read -r path; do
                [[ $path == /usr/* && $path != *..* ]] || continue
                grep -qxF -- "$path" "$2" || rm -f -- "$path"
        done <"$1"
}

copy_staged() {
        local stage=$1 list=$scratch/files path
        [[ -x $stage/usr/libexec/vaultd/vaultd ]] || fail "$stage holds no staged vaultd (see --destdir)"
        (cd "$stage" && find . \( -type f -o -type l \) -printf '/%P\n' | sort) >"$list"
        printf '%s\n' "$manifest" >>"$list"
        if [[ -e $manifest ]]; then
                remove_listed "$manifest" "$list"
        fi
        while IFS= read -r path; do
                [[ $path != "$manifest" ]] || continue
                mkdir -p -- "$(dirname "$path")"
                # A new file in place of the old one: a program that runs keeps its own.
                cp --no-dereference --preserve=mode,timestamps -- "$stage$path" "$path.vaultd-new"
                mv -f -- "$path.vaultd-new" "$path"
        done <"$list"
        install -D -m 0644 "$list" "$manifest"
}

# Made once, never written over; refused where there is state whose key is gone.
make_key() {
        /usr/bin/vaultctl admin init --key-only || fail "there is no key; nothing was started"
}

# Shown once, so only to somebody who can write it down: not into a log.
make_recovery_key() {
        if [[ -t 1 ]]; then
                /usr/bin/vaultctl admin init || say "There is no recovery key yet. Run: sudo vaultctl admin init"
        else
                say "There may be no recovery key yet, and this is no terminal. Run: sudo vaultctl admin init"
        fi
}

confirm() {
        local answer
        [[ $yes == no ]] || return 0
        [[ -t 0 ]] || { say "$1: not asked (no terminal, no --yes), so: no."; return 1; }
        read -r -p "$1 [y/N] " answer
        [[ $answer == [yY]* ]]
}

enable_pam() {
        local modules
        [[ $with_pam == yes ]] || { say "PAM is left alone (--no-pam)."; return 0; }
        modules=$(dirname "$(dpkg-query -L libpam-modules 2>/dev/null | grep '/pam_unix\.so$' || echo .)")
        [[ -e $modules/pam_vaultd.so ]] || fail "pam_vaultd.so is not beside pam_unix.so in $modules; PAM was not changed"
        command -v pam-auth-update >/dev/null || { say "No pam-auth-update here; see pam_vaultd(8) for the line."; return 0; }
        if confirm "Register logins with vaultd (adds 'session optional pam_vaultd.so' to common-session)?"; then
                DEBIAN_FRONTEND=noninteractive pam-auth-update --package --enable vaultd
                grep -qs pam_vaultd.so /etc/pam.d/common-session ||
                        say "pam-auth-update left common-session alone, as it was edited by hand; see pam_vaultd(8) for the line."
        fi
}

install_all() {
        local stage=$1
        copy_staged "$stage"
        systemd-sysusers /usr/lib/sysusers.d/vaultd.conf
        systemd-tmpfiles --create /usr/lib/tmpfiles.d/vaultd.conf
        make_key
        if is_booted && [[ $with_start == yes ]]; then
                systemctl daemon-reload
                systemctl --quiet enable "${sockets[@]}" "${watchers[@]}"
                systemctl start "${sockets[@]}" "${watchers[@]}"
                # An upgrade: the new program takes over, callers wait on the sockets meanwhile.
                systemctl try-restart "${services[@]}"
                make_recovery_key
        else
                systemctl --quiet enable "${sockets[@]}" "${watchers[@]}"
                say "Not started. 'systemctl start ${sockets[*]}' does, or the next boot."
                say "Then, once: sudo vaultctl admin init (makes a recovery key for backups)."
        fi
        # Last, so that no login meets a module whose daemon is not there yet.
        enable_pam
        say "vaultd is installed. Try: vaultctl whoami"
}

uninstall_all() {
        [[ -e $manifest ]] || fail "vaultd is not installed here (no $manifest)"
        confirm "Remove vaultd from this machine (vaults and keys stay)?" || fail "nothing was changed"
        # First, so that no login meets a line whose module is gone.
        if command -v pam-auth-update >/dev/null; then
                DEBIAN_FRONTEND=noninteractive pam-auth-update --package --remove vaultd
        fi
        if is_booted; then
                systemctl --quiet disable --now "${watchers[@]}" "${sockets[@]}" "${services[@]}"
        else
                systemctl --quiet disable "${watchers[@]}" "${sockets[@]}" "${services[@]}"
        fi
        remove_listed "$manifest" /dev/null
        rmdir --ignore-fail-on-non-empty /usr/libexec/vaultd /usr/lib/vaultd/*/ /usr/lib/vaultd 2>/dev/null || true
        ! is_booted || systemctl daemon-reload
        say "vaultd is removed. Left: $state, $kek, /etc/vaultd and the users vaultd and vaultd-web."
}

main() {
        local verb=install directory=
        yes=no with_pam=yes with_start=yes
        while (( $# )); do
                case $1 in
                --yes) yes=yes ;;
                --no-pam) with_pam=no ;;
                --no-start) with_start=no ;;
                --uninstall) verb=uninstall ;;
                --destdir|--staged)
                        verb=${1#--}
                        [[ -n ${2:-} ]] || fail "$1 needs a directory"
                        directory=$(realpath -m -- "$2")
                        shift ;;
                --packages-only) shift; install_packages "${build_packages[@]}" "$@"; return 0 ;;
                -h|--help) usage; return 0 ;;
                *) usage >&2; exit 2 ;;
                esac
                shift
        done
        scratch=$(mktemp -d)
        [[ $verb == destdir || $(id -u) == 0 ]] || fail "must run as root (sudo ./install.sh)"
        case $verb in
        destdir) build_into "$directory" ;;
        staged) install_all "$directory" ;;
        uninstall) uninstall_all ;;
        install)
                install_packages "${build_packages[@]}"
                build_into "$scratch/stage"
                install_all "$scratch/stage" ;;
        esac
}

main "$@"
