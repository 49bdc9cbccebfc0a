# SPDX-License-Identifier: LGPL-2.1-or-later
"""The image of the private machine: a small Debian in one squashfs file.

Why a file of our own and not the host: units, PAM and users can only be tried for real as root, and
the host's must not be touched. Why squashfs: it is read-only, so every machine that boots from it
starts pristine, and any number may share it.

The image is cached in $VAULTD_CACHE (default /var/cache/vaultd-tests) under a name that holds a digest of its
recipe: this file and `packages`. Two checkouts may ask at the same time: one builds under a lock,
the other waits and finds it done. A build goes into a private directory and is renamed in place as its
last step, so an interrupted one leaves nothing that looks finished.

The mirror is whatever the host itself installs Debian from, asked of apt, so that no host name has to
stand here and a local mirror or proxy is used by itself.
"""

import fcntl
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SUITE = "bookworm"

# Work on the fresh root directory, run by sh with it as $1. Everything here is about the machine being
# *private*: no timers that reach for the network, no console login, no identity shared by boots.
CUSTOMIZE = r"""
set -eu
root=$1
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/etc/apt/apt.conf.d/99mmdebstrap
: > "$root/etc/apt/sources.list"
rm -f "$root"/etc/apt/sources.list.d/*
: > "$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root/etc/resolv.conf"
echo vaultd-machine > "$root/etc/hostname"
printf '127.0.0.1 localhost vaultd-machine\n::1 localhost\n' > "$root/etc/hosts"
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
            fstrim.timer console-getty.service systemd-firstboot.service \
            systemd-networkd.service systemd-resolved.service systemd-timesyncd.service; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# A network namespace begins with its loopback down, and services bind to 127.0.0.1 early.
cat > "$root/etc/systemd/system/loopback.service" <<'UNIT'
[Unit]
Description=Bring the loopback interface up
DefaultDependencies=no
Before=sockets.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/ip link set lo up
[Install]
WantedBy=sockets.target
UNIT
chroot "$root" systemctl enable loopback.service ssh.service cron.service
"""


def cache_directory():
    """The directory that survives between runs; made when missing."""
    path = pathlib.Path(os.environ.get("VAULTD_CACHE", "/var/cache/vaultd-tests"))
    path.mkdir(parents=True, exist_ok=True)
    return path


def package_list():
    lines = (HERE / "packages").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def recipe_digest():
    """Sixteen hex digits over everything that decides what the image holds."""
    digest = hashlib.sha256()
    for name in ("image.py", "packages"):
        digest.update(name.encode() + b"\0" + (HERE / name).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def image_path():
    return cache_directory() / f"machine-{SUITE}-{recipe_digest()}.squashfs"


def host_sources():
    """The host's Debian sources as one-line entries, e.g. for the release, its updates and security."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)",
               "Created-By: Packages", "Origin: Debian"]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    entries = set()
    for line in result.stdout.splitlines():
        uri, release, component = line.split("|")
        if release.split("-")[0] == SUITE:
            entries.add((release, component, uri))
    if not any(release == SUITE for release, _, _ in entries):
        raise RuntimeError(f"apt knows no Debian {SUITE} here: run 'apt-get update' on a Debian {SUITE} machine")
    return [f"deb {uri} {release} {component}" for release, component, uri in sorted(entries)]


def host_apt_options():
    """How the host reaches its mirror (proxy, retries, clock checks), for the build only."""
    dump = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout
    wanted = ("Acquire::http", "Acquire::https", "Acquire::Retries", "Acquire::Check-")
    return [line.rstrip(";") for line in dump.splitlines() if line.startswith(wanted) and '""' not in line]


def build(destination):
    """Build the image into a private directory beside destination, then rename it there."""
    work = pathlib.Path(tempfile.mkdtemp(prefix="build-", dir=destination.parent))
    work.chmod(0o755)
    root = work / "root"
    hook = work / "customize"
    hook.write_text(CUSTOMIZE)
    # In a file, since a proxy's address may hold a password and argv is public.
    options = work / "apt.conf"
    options.touch(mode=0o600)
    options.write_text("".join(option + ";\n" for option in host_apt_options()))
    try:
        command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory",
                   "--include=" + ",".join(package_list()),
                   "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
                   "--dpkgopt=path-exclude=/usr/share/locale/*",
                   "--customize-hook=sh " + str(hook) + ' "$1"', "--aptopt=" + str(options),
                   SUITE, str(root)] + host_sources()
        _run_killable(command)
        partial = work / "image"
        _run_killable(["mksquashfs", str(root), str(partial), "-comp", "zstd", "-Xcompression-level", "1",
                       "-quiet", "-no-progress"])
        os.rename(partial, destination)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_killable(command):
    """Run a command, its output to stderr; an exception here (^C) ends it before it is passed on."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True)
    try:
        if process.wait() != 0:
            raise RuntimeError(f"{command[0]} failed with code {process.returncode}")
    except BaseException:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
        raise


def _forget_older(keep):
    """Drop images of older recipes that nobody has used for a week: a cache must not grow for ever."""
    newest = keep.stat().st_mtime
    for path in keep.parent.glob(f"machine-{SUITE}-*.squashfs"):
        if path != keep and newest - path.stat().st_mtime > 7 * 86400:
            path.unlink(missing_ok=True)


def ensure_image():
    """Return the path of the image for this recipe, building it when the cache has none."""
    path = image_path()
    if path.exists():
        os.utime(path)
        return path
    with open(path.parent / "machine.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            for stale in path.parent.glob("build-*"):
                shutil.rmtree(stale, ignore_errors=True)
            print("building the image of the private machine (once, about half a minute)", file=sys.stderr)
            build(path)
        _forget_older(path)
    return path
