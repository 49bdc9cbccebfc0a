# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logins as sshd would make them: a process with a login uid and an audit session of its own, registered by root.

Only the kernel's side is real here (login uid, session id, what survives a change of uid); PAM's side is one call on the
control socket. tests/system has both for real.
"""

import contextlib
import json
import subprocess

from world import UIDS

# Sets its login uid as pam_loginuid does, then works through lines of JSON: runs a command as some uid in this audit session, answers with its
# exit code and output. With "leaves" the command runs in a child that has lost its parent.
LEADER = r"""
import json, os, subprocess, sys
if sys.argv[1] != "-":
    with open("/proc/self/loginuid", "w") as file:
        file.write(sys.argv[1])
print(json.dumps({"pid": os.getpid()}), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    done = subprocess.run(order["argv"], input=order["stdin"], capture_output=True, text=True, env=order["env"], timeout=60,
                          user=order["uid"], group=order["uid"], extra_groups=[])
    print(json.dumps({"code": done.returncode, "out": done.stdout, "err": done.stderr}), flush=True)
"""


class Login(contextlib.AbstractContextManager):
    """A login of user; login_uid=False leaves it unset, is_registered=False keeps PAM out of it."""

    def __init__(self, world, user, service="sshd", has_login_uid=True, is_registered=True, **details):
        self.world, self.user = world, user
        self.leader = subprocess.Popen(["/usr/bin/python3", "-c", LEADER, str(UIDS[user]) if has_login_uid else "-"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.pid = json.loads(self.leader.stdout.readline())["pid"]
        self.session = self.register(user, service, **details) if is_registered else None

    def register(self, user, service, **details):
        """What pam_vaultd does in this audit session; su -l and sudo -i register a login of theirs in their caller's."""
        reply = self.world.caller("root", "control").reply("io.vaultd.Login.Open", {
            "uid": UIDS[user], "user": user, "service": service, "leader": self.pid, **details})
        return reply["parameters"]["session"]

    def run(self, argv, user=None, stdin="", environment=None):
        """(exit code, stdout, stderr) of a command in this login, under the login's uid or, as after sudo, another."""
        order = {"argv": [str(word) for word in argv], "uid": UIDS[user or self.user], "stdin": stdin, "env": environment or self.world.environment()}
        self.leader.stdin.write(json.dumps(order) + "\n")
        self.leader.stdin.flush()
        answer = json.loads(self.leader.stdout.readline())
        return answer["code"], answer["out"], answer["err"]

    def vaultctl(self, *arguments, user=None, stdin="", environment=None):
        code, out, err = self.run([*self.world.command("--json", *arguments)], user, stdin, environment)
        return code, json.loads(out.strip().splitlines()[-1]) if out.strip() else err

    def end(self):
        """The leader ends as a killed sshd does: without a close."""
        if self.leader.poll() is None:
            self.leader.kill()
        self.leader.communicate()

    def __exit__(self, *_):
        self.end()
