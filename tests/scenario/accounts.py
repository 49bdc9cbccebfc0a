# SPDX-License-Identifier: LGPL-2.1-or-later
"""The host's accounts, changed for a test: /etc/passwd of the private mounts, and a name service that is broken on purpose.

Everything is undone at the end of the `with`, whatever happened inside.
"""

import contextlib
import pathlib
import re
import subprocess

PASSWD = pathlib.Path("/etc/passwd")
NSSWITCH = pathlib.Path("/etc/nsswitch.conf")

# A name service that hangs as long as a file is there. Its passwd functions are all that glibc asks for here (nss(5)).
HANGING_SERVICE = r"""
#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <unistd.h>
enum nss_status _nss_hang_getpwuid_r(uid_t uid, struct passwd *p, char *b, size_t n, int *e) {
        while (access(HANG_FILE, F_OK) == 0)
                usleep(20000);
        *e = EAGAIN;
        return NSS_STATUS_UNAVAIL;
}
"""


@contextlib.contextmanager
def passwd():
    """Gives a function renamed(old, new) and puts the file back. Written in place: it is a bind mount."""
    before = PASSWD.read_text()

    def renamed(old, new):
        text, n = re.subn(f"^{old}:", f"{new}:", PASSWD.read_text(), flags=re.MULTILINE)
        assert n == 1, old
        PASSWD.write_text(text)

    try:
        yield renamed
    finally:
        PASSWD.write_text(before)


@contextlib.contextmanager
def name_service(directory, line):
    """passwd: line in nsswitch.conf, which glibc reads anew when it changes."""
    file = directory / "nsswitch.conf"
    file.write_text(f"passwd: {line}\ngroup: files\nhosts: files dns\n")
    file.chmod(0o644)
    subprocess.run(["mount", "--bind", file, NSSWITCH], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", NSSWITCH], check=True)


def hanging_service(directory):
    """Builds the service into directory; returns the file that makes it hang."""
    file = directory / "hang"
    subprocess.run(["cc", "-shared", "-fPIC", f'-DHANG_FILE="{file}"', "-o", directory / "libnss_hang.so.2", "-xc", "-"],
                   input=HANGING_SERVICE, text=True, check=True)
    return file
