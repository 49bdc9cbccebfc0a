# SPDX-License-Identifier: LGPL-2.1-or-later
"""A private machine with vaultd installed as an admin would, and with the services it talks to.

`./demo` and the system tests share it, so that what people are shown is what is tested. The pieces, in the
order in which a machine gets them:

    scene = Scene(stage).boot()         a machine that has systemd, sshd and nothing of vaultd
    scene.install()                     install.sh, from a staged build
    scene.start_services()              authorization server, MCP server, Claude Platform emulator (loopback)
    scene.configure()                   what an admin writes: vaultd.conf, a service, its policy, the key
    scene.add_person("alice", "alice@notion.test")

The emulator is asked by us too, with the workspace key and never through vaultd: what vaultd says about
itself is no evidence. Keys stay in files inside the machine, out of argv on both sides.
"""

import json
import pathlib
import secrets
import select
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from machine import Machine, MachineError       # noqa: E402 (the folder is not a package)

TREE = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = "/src/tests/fixtures"
TLS = "/srv/tls"
PROVIDER_PORT, MCP_PORT, PLATFORM_PORT = 9441, 9442, 9443
WORKSPACE_KEY_FILE = "/etc/credstore/vaultd.workspace-key"
PLATFORM_HEADERS = "/root/platform-headers"
PLATFORM_VERSION, PLATFORM_BETA = "2023-06-01", "managed-agents-2026-04-01"


def build_stage(directory):
    """Stage a release build of this tree below directory, as install.sh does for itself."""
    subprocess.run([str(TREE / "install.sh"), "--destdir", str(directory)], check=True, stdin=subprocess.DEVNULL)
    return directory


class Conversation:
    """A program that answers in lines of JSON while it runs, e.g. `vaultctl --json connect`.

    Leaving the `with` block closes its input and requires exit code 0; on an exception it is ended.
    """

    def __init__(self, command):
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                                         text=True, bufsize=1)

    def hear(self, timeout=30):
        """The next line, parsed. The program flushes line by line, so a readable pipe has a whole one."""
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            raise MachineError(f"no answer in {timeout} s; " + self._said_wrong())
        line = self._process.stdout.readline()
        if not line:
            raise MachineError("it ended instead of answering; " + self._said_wrong())
        return json.loads(line)

    def say(self, line):
        self._process.stdin.write(line + "\n")

    def _said_wrong(self):
        self._errors.seek(0)
        return "its errors: " + (self._errors.read()[-2000:] or "none")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self._process.terminate()
        self._process.stdin.close()
        code = self._process.wait(timeout=30)
        if kind is None and code != 0:
            raise MachineError(f"it ended with exit code {code}; " + self._said_wrong())
        self._process.stdout.close()
        self._errors.close()


class Scene(Machine):
    def __init__(self, stage, name=None, overlay=None):
        self.accounts = {}
        self.node = subprocess.run([str(TREE / "tests/fixtures/node/install")], check=True, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout.strip()
        binds = [(TREE, "/src", False), (stage, "/stage", False), (self.node, self.node, False)]
        super().__init__(name, binds, overlay)

    def install(self):
        self.run(["/src/install.sh", "--staged", "/stage", "--yes"])
        return self

    # The services

    def start_services(self, accounts=("alice@notion.test", "bob@notion.test"), provider_options=()):
        self.run([f"{FIXTURES}/tls/make-ca", TLS])
        self.write("/root/introspection-secret", secrets.token_urlsafe(32) + "\n", 0o600)
        key = "sk-ant-api03-" + secrets.token_urlsafe(48)
        self.run(["install", "-d", "-m", "0700", "/etc/credstore"])
        self.write(WORKSPACE_KEY_FILE, key + "\n", 0o600)
        self.write(PLATFORM_HEADERS, f"x-api-key: {key}\nanthropic-version: {PLATFORM_VERSION}\n"
                   f"anthropic-beta: {PLATFORM_BETA}\ncontent-type: application/json\n", 0o600)
        tls = ["--tls-cert", f"{TLS}/cert.pem", "--tls-key", f"{TLS}/key.pem"]
        introspection = ["--introspection-client", "mcp-server:/root/introspection-secret"]
        environment = {"VAULTD_CACHE": str(pathlib.Path(self.node).parent)}
        self.provider = self.start("provider", [
            f"{FIXTURES}/provider/run", "--listen", f"127.0.0.1:{PROVIDER_PORT}", *tls, *introspection,
            "--accounts", ",".join(accounts), *provider_options], environment=environment)["issuer"]
        self.mcp = self.start("mcp", [
            f"{FIXTURES}/mcp/run", "--listen", f"127.0.0.1:{MCP_PORT}", *tls, *introspection, "--ca", f"{TLS}/ca.pem",
            "--issuer", self.provider], environment=environment)["url"]
        self.platform = self.start("platform", [
            f"{FIXTURES}/platform/run", "--listen", f"127.0.0.1:{PLATFORM_PORT}", *tls, "--ca-file", f"{TLS}/ca.pem",
            "--workspace-key-file", WORKSPACE_KEY_FILE])["url"]
        return self

    def configure(self):
        """The admin's files. A complete services.d/notion.conf masks the shipped one of the same name."""
        allowed = " ".join(f"127.0.0.1:{port}" for port in (PROVIDER_PORT, MCP_PORT, PLATFORM_PORT))
        self.write("/etc/vaultd/vaultd.conf",
                   f"[Platform]\nUrl={self.platform}\n\n[Http]\nCaFile={TLS}/ca.pem\nAllowPrivate={allowed}\n")
        self.write("/etc/vaultd/services.d/notion.conf",
                   f"[Service]\nName=notion\nTitle=Notion\nUrl={self.mcp}\nAccountTool=notion-get-self\n"
                   "AccountIdField=id\nAccountNameField=email\n")
        self.write("/etc/vaultd/policy.d/50-notion.conf",
                   "[Server notion]\nTools=notion-get-self notion-search\n")
        self.run(["systemctl", "try-restart", "vaultd.service"])
        return self

    def add_person(self, user, account):
        """A Unix user, and the account that this person has at the service."""
        self.accounts[user] = account
        return self.add_user(user)

    # What people do

    def as_user(self, user, command, check=True, stdin=None):
        """One SSH login of user that runs one shell command line; returns the CompletedProcess."""
        return self.ssh(user, command, check=check, stdin=stdin)

    def vaultctl(self, user, command):
        """Run `vaultctl --json COMMAND` in an SSH login of user; returns its last JSON line, or raises."""
        output = self.as_user(user, "vaultctl --json " + command).stdout
        return json.loads(output.strip().splitlines()[-1])

    def browse(self, user, url, account):
        """What the user's browser shows in the end, after signing in at the provider as account."""
        command = f"{FIXTURES}/browser/browser --ca {TLS}/ca.pem --login '{account}' '{url}'"
        return json.loads(self.as_user(user, command).stdout)

    def converse(self, user, command):
        """An SSH login of user that runs a shell command line and is talked to line by line."""
        return Conversation(self.command(self.ssh_command(user, command)))

    def connect(self, user, account=None):
        """The whole of `vaultctl connect notion` for user: link, browser, code. Returns its last line."""
        with self.converse(user, "vaultctl --json connect notion --page --no-browser") as terminal:
            link = terminal.hear()["link"]
            page = self.browse(user, link, account or self.accounts[user])
            terminal.hear()
            terminal.say(page["ids"]["claim-code"])
            return terminal.hear()

    # What the other side saw

    def _get(self, url, *options):
        result = self.run(["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "20",
                           "--cacert", f"{TLS}/ca.pem", *options, url])
        return json.loads(result.stdout)

    def ask_platform(self, path):
        """GET from the platform with the workspace key, past vaultd."""
        return self._get(self.platform + path, "--header", "@" + PLATFORM_HEADERS)

    def tell_platform(self, path, body):
        return self._get(self.platform + path, "--header", "@" + PLATFORM_HEADERS, "--data", json.dumps(body))

    def platform_vaults(self):
        """Ids of all vaults there are, oldest first as far as the platform says."""
        vaults, page = [], ""
        while True:
            answer = self.ask_platform("/v1/vaults?limit=100" + page)
            vaults += [vault["id"] for vault in answer["data"]]
            if not answer.get("next_page"):
                return vaults
            page = "&page=" + answer["next_page"]

    def mcp_calls(self):
        """(account, tool) of each call that reached the MCP server, in order."""
        origin = self.mcp.split("/", 3)[0] + "//" + self.mcp.split("/", 3)[2]
        return [(call["account"], call["tool"]) for call in self._get(origin + "/_fixture/calls")]


__all__ = ["MachineError", "Scene", "TREE", "build_stage"]
