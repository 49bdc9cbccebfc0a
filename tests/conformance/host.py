# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host in small that has one service: an MCP server of the conformance suite, behind the mirror.

It is the world of tests/scenario without its provider, MCP server and platform: vaultd and vaultd-web under their own uids, and
alice, who connects the service with vaultctl and a browser, claims it and then uses it. Nothing here knows which scenario is played.
"""

import json
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import shutil

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "scenario")]
import world    # noqa: E402 (the folder is not a package)

SERVICE = "suite"
STEPS_MAX = 8
# What the suite's servers let a client call; nothing is called that policy does not switch on.
TOOL = "test-tool"


class Refused(Exception):
    """vaultctl said no; the text is what it said."""


class Host(world.World):
    """url: the server's, as the suite says it. proxy, authority: the mirror's. context: what the suite knows beforehand."""

    def __init__(self, url, proxy, authority, context):
        super().__init__(platform=False)
        self._url = re.sub(r"^http://localhost:([0-9]+)", r"https://p\1.suite.test", url)
        self._proxy, self._authority, self._context = proxy, authority, context

    def _build(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="vaultd-conformance-"))
        self.callback(shutil.rmtree, self.root, ignore_errors=True)
        self.root.chmod(0o755)
        for name in ("bin", "etc", "etc/services.d", "etc/policy.d", "vendor", "log"):
            (self.root / name).mkdir(mode=0o755)
        for name in ("state", "logins", "run"):
            (self.root / name).mkdir(mode=0o755 if name == "run" else 0o700)
            world.os.chown(self.root / name, world.UIDS["vaultd"], world.UIDS["vaultd"])
        for program in ("daemon/vaultd", "daemon/web/vaultd-web", "client/vaultctl"):
            shutil.copy(world.BUILD / program, self.root / "bin")
        shutil.copy(world.FIXTURES / "browser/browser", self.root / "bin/browser")
        self.kek = self._secret("kek", world.secrets.token_bytes(32), "vaultd")
        self.workspace_key_file = None
        self.port = world.free_port()
        self.configure()
        self.start_vaultd()
        self.start_web()

    def configure(self):
        client = "ClientMetadataUrl=https://conformance-test.local/client-metadata.json\n"
        if "client_id" in self._context:
            client = f"ClientId={self._context['client_id']}\n"
        if "client_secret" in self._context:
            client += f"ClientSecretFile={self._secret('client-secret', self._context['client_secret'].encode(), 'vaultd')}\n"
        (self.root / "etc/vaultd.conf").write_text(
            f"[Http]\nCaFile={self._authority}\nProxy=http://{self._proxy}\n\n[Web]\nLoopbackPort={self.port}\n\n" + self._identity(""))
        (self.root / f"etc/services.d/{SERVICE}.conf").write_text(
            f"[Service]\nName={SERVICE}\nTitle=Suite\nUrl={self._url}\nAccount=none\n{client}")
        (self.root / f"etc/policy.d/50-{SERVICE}.conf").write_text(f"[Server {SERVICE}]\nTools={TOOL}\n")

    def run(self, *words):
        """Connects by the command that vaultctl itself named, or by the first one of all; raises Refused."""
        terminal = self.converse("alice", *words, "--no-browser")
        said = []
        for state in ("pending", "quarantined", "connected"):
            try:
                said.append(terminal.hear())
            except AssertionError as error:
                raise Refused(str(error)) from None
            if said[-1].get("state") != state:
                raise Refused(json.dumps(said[-1]))
            if state == "pending":
                page = self.browse_through_mirror(said[-1]["link"])
            elif state == "quarantined":
                terminal.say(page["ids"]["claim-code"])
        terminal.end()

    def browse_through_mirror(self, link):
        done = subprocess.run([self.root / "bin/browser", "--ca", self._authority, "--proxy", self._proxy, link],
                              text=True, capture_output=True, timeout=60, **world.as_user("alice"))
        return json.loads(done.stdout)

    def play(self):
        """Connect, then use the service twice; whatever vaultctl says has to be done is done, and no more of it than it says."""
        self.run("connect", SERVICE)
        uses = [[], ["--tool", TOOL]]
        for _ in range(STEPS_MAX):
            done = self.vaultctl("alice", "--json", "check", SERVICE, *uses[0])
            answer = json.loads((done.stdout.strip() or done.stderr.strip()).splitlines()[-1])
            said = [each.get("hint") or "" for each in [answer, *answer.get("results", [])]]
            command = re.search(r"Run: vaultctl (connect .*)", " ".join(said))
            if command:
                self.run(*shlex.split(command[1]))
            elif done.returncode != 0 or any(each.get("reason") for each in answer["results"]):
                raise Refused(json.dumps(answer))
            else:
                uses.pop(0)
            if not uses:
                return
        raise Refused("vaultctl asks to connect again and again")
