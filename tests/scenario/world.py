# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host in small: vaultd and vaultd-web under their own uids, real fixtures around them, users with browsers.

`World` is a context manager. Everything lies in one directory below /tmp that other uids may enter; programs are
started without a shell and ended by pid. Users act through the real vaultctl under their own uid.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parents[1]
FIXTURES = TREE / "tests/fixtures"
sys.path.insert(0, str(FIXTURES))
from fixture_stack import Program, Stack    # noqa: E402 (the folder is not a package)

BUILD = pathlib.Path(os.environ.get("VAULTD_BUILD", TREE / "build/check-gcc"))
UIDS = {"root": 0, "alice": 1001, "bob": 1002, "carol": 1003, "vaultd": 990, "vaultd-web": 991, "nobody-here": 54321}
ACCOUNTS = {"alice": "alice@notion.test", "bob": "bob@notion.test", "carol": "carol@notion.test"}
SANITIZER = {"ASAN_OPTIONS": "detect_stack_use_after_return=0:abort_on_error=1:log_path=stderr", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}


def account_id(account):
    """The id that the MCP server has for an account of the provider."""
    digest = hashlib.sha256(account.encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def as_user(user):
    """Popen arguments that make the child this user and nobody else."""
    uid = UIDS[user]
    return {"user": uid, "group": uid, "extra_groups": []}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Caller:
    """A raw Varlink client under some uid: the peer credentials are those of the process that connects, so a child does."""

    CODE = """
import json, socket, sys
path, timeout = sys.argv[1], float(sys.argv[2])
s = socket.socket(socket.AF_UNIX); s.settimeout(timeout); s.connect(path)
s.sendall(sys.stdin.buffer.read())
data = b""
while not data.endswith(b"\\0"):
    piece = s.recv(65536)
    if not piece: break
    data += piece
sys.stdout.buffer.write(data)
"""

    def __init__(self, user, path):
        self.user, self.path = user, path

    def raw(self, data, timeout=30):
        done = subprocess.run(["/usr/bin/python3", "-c", self.CODE, str(self.path), str(timeout)], input=data,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout + 10, **as_user(self.user))
        return done.stdout

    def __call__(self, method, parameters=None, timeout=30):
        """One call; returns the reply message as bytes without its NUL (b"" when the connection was closed)."""
        message = json.dumps({"method": method, "parameters": parameters or {}}).encode() + b"\0"
        return self.raw(message, timeout).rstrip(b"\0")

    def reply(self, method, parameters=None, timeout=30):
        return json.loads(self(method, parameters, timeout))


class Conversation:
    """A vaultctl that is talked to line by line."""

    def __init__(self, command, user, environment):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, bufsize=1, env=environment, **as_user(user))

    def hear(self, timeout=30):
        assert select.select([self.process.stdout], [], [], timeout)[0], "vaultctl says nothing"
        line = self.process.stdout.readline()
        assert line, f"vaultctl ended: {self.process.stderr.read()}"
        return json.loads(line)

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self, timeout=30):
        """Closes its input and returns (exit code, rest of stdout, stderr)."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err

    def kill(self):
        self.process.kill()
        self.process.communicate()


class World(contextlib.ExitStack):
    def __init__(self, services="", settings="", platform=True, platform_options=(), custody="auto", provider_options=()):
        super().__init__()
        self._services, self._settings, self._custody = services, settings, custody
        self._with_platform, self._platform_options = platform, platform_options
        self._provider_options = provider_options
        self.vaultd_process = self.web_process = None
        self.more_upstreams = []        # addresses that vaultd may reach besides the stack's

    # Life

    def __enter__(self):
        super().__enter__()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def _build(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="vaultd-world-"))
        self.callback(shutil.rmtree, self.root, ignore_errors=True)
        self.root.chmod(0o755)
        for name in ("bin", "etc", "etc/services.d", "etc/policy.d", "vendor", "run", "log", "fixtures"):
            (self.root / name).mkdir(mode=0o755)
        for name, user in (("state", "vaultd"), ("logins", "vaultd"), ("run", "vaultd")):
            (self.root / name).mkdir(mode=0o755 if name == "run" else 0o700, exist_ok=True)
            os.chown(self.root / name, UIDS[user], UIDS[user])
        for program in ("daemon/vaultd", "daemon/web/vaultd-web", "client/vaultctl"):
            shutil.copy(BUILD / program, self.root / "bin")
        shutil.copy(FIXTURES / "browser/browser", self.root / "bin/browser")
        self.stack = self.enter_context(Stack(self.root / "fixtures", accounts=",".join(ACCOUNTS.values()), provider_options=self._provider_options))
        self.kek = self._secret("kek", secrets.token_bytes(32), "vaultd")
        self.workspace_key = "sk-ant-api03-" + secrets.token_urlsafe(40)
        self.workspace_key_file = self._secret("workspace-key", self.workspace_key.encode(), "vaultd") if self._with_platform else None
        self.start_platform()
        self.port = free_port()
        self.configure()
        self.start_vaultd()
        self.start_web()

    def _secret(self, name, content, user):
        path = self.root / name
        path.touch(0o600)
        path.write_bytes(content)
        os.chown(path, UIDS[user], UIDS[user])
        return path

    def start_platform(self):
        directory = self.root / "fixtures"
        arguments = [FIXTURES / "platform/run", "--listen", "127.0.0.1:0", "--tls-cert", directory / "cert.pem", "--tls-key", directory / "key.pem",
                     "--ca-file", directory / "ca.pem", "--workspace-key-file", self._secret("emulator-key", self.workspace_key.encode(), "root")]
        for option in self._platform_options:
            arguments += ["--option", option]
        self.platform = self.enter_context(Program(arguments, self.root / "log/platform.log"))
        self.platform_url = self.platform.ready["url"]

    @staticmethod
    def _identity(settings):
        """Who runs the tests from a login of his own would be told apart from alice; a test that is about that says so itself."""
        is_login = int(pathlib.Path("/proc/self/loginuid").read_text()) != 0xFFFFFFFF
        return "[Identity]\nElevated=allow\n\n" if is_login and "[Identity]" not in settings else ""

    def configure(self, settings=None, custody=None, policy=None):
        """Writes the administrator's files; takes effect at the next start of vaultd."""
        settings = self._settings if settings is None else settings
        allowed = " ".join(url.split("/")[2] for url in (self.stack.issuer, self.stack.url, self.platform_url, *self.more_upstreams))
        # Tests begin connections faster than people do; one that is about that says so itself.
        if "FlowsPerMinute" not in settings:
            settings = settings.replace("[Limits]\n", "[Limits]\nFlowsPerMinute=1000\n") if "[Limits]" in settings else settings + "\n[Limits]\nFlowsPerMinute=1000\n"
        (self.root / "etc/vaultd.conf").write_text(
            f"[Platform]\nUrl={self.platform_url}\nAdoptWait=1s\n\n[Http]\nCaFile={self.stack.ca}\nAllowPrivate={allowed}\n\n"
            f"[Web]\nLoopbackPort={self.port}\n\n" + self._identity(settings) + settings)
        (self.root / "etc/services.d/notion.conf").write_text(
            f"[Service]\nName=notion\nTitle=Notion\nUrl={self.stack.url}\nCustody={custody or self._custody}\nAccountTool=notion-get-self\n"
            "AccountIdField=id\nAccountNameField=email\n" + self._services)
        (self.root / "etc/policy.d/50-notion.conf").write_text(
            policy or "[Server notion]\nTools=notion-get-self notion-search\nAsk=notion-create-pages\n")

    def add_service(self, name, text):
        """One more of services.d; takes effect at the next start of vaultd."""
        (self.root / f"etc/services.d/{name}.conf").write_text(text)

    @property
    def sockets(self):
        return {name: self.root / f"run/{file}" for name, file in
                (("public", "io.vaultd"), ("control", "io.vaultd.control"), ("web", "io.vaultd.web"))}

    def vaultd_command(self):
        command = [self.root / "bin/vaultd", "--state-dir", self.root / "state", "--config-dir", self.root / "etc", "--vendor-dir", self.root / "vendor",
                   "--runtime-dir", self.root / "logins", "--kek-file", self.kek]
        if self.workspace_key_file:
            command += ["--workspace-key-file", self.workspace_key_file]
        for name, path in self.sockets.items():
            command += ["--listen", f"{name}={path}"]
        return [str(each) for each in command]

    def start_vaultd(self, environment=None, wait=True):
        """Starts vaultd; with wait until it answers. environment adds to its own (crash points)."""
        for path in self.sockets.values():
            path.unlink(missing_ok=True)
        log = (self.root / "log/vaultd.log").open("ab")
        self.vaultd_process = subprocess.Popen(self.vaultd_command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                               env={"PATH": os.environ["PATH"], **SANITIZER, **(environment or {})}, **as_user("vaultd"))
        log.close()
        process = self.vaultd_process
        self.callback(self._end, process)
        deadline = time.monotonic() + 20
        while wait and not self._accepts():
            assert process.poll() is None and time.monotonic() < deadline, self.log("vaultd")
            time.sleep(0.02)
        # Listening sockets of our own: what systemd's SocketMode= and SocketUser= do on a real host.
        if self.sockets["web"].exists():
            os.chown(self.sockets["web"], UIDS["vaultd-web"], UIDS["vaultd-web"])
            os.chown(self.sockets["control"], 0, 0)
        return process

    def _accepts(self):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.sockets["web"]))     # the last one to be made
            return True
        return False

    @staticmethod
    def _end(process, how=signal.SIGTERM):
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return process.returncode

    def stop_vaultd(self, how=signal.SIGTERM):
        return self._end(self.vaultd_process, how)

    def restart_vaultd(self, environment=None):
        self.stop_vaultd()
        return self.start_vaultd(environment)

    def start_web(self):
        log = (self.root / "log/web.log").open("ab")
        self.web_process = subprocess.Popen([self.root / "bin/vaultd-web", "--socket", self.sockets["web"], "--listen", f"127.0.0.1:{self.port}"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], **SANITIZER}, **as_user("vaultd-web"))
        log.close()
        self.callback(self._end, self.web_process)
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self.web_process.poll() is None and time.monotonic() < deadline, self.log("web")
            time.sleep(0.02)

    def log(self, name):
        return (self.root / f"log/{name}.log").read_text(errors="replace")

    # People

    def caller(self, user, socket_name="public"):
        return Caller(user, self.sockets[socket_name])

    def command(self, *arguments):
        return [str(self.root / "bin/vaultctl"), *arguments]

    def environment(self):
        return {"PATH": os.environ["PATH"], "VAULTD_SOCKET": str(self.sockets["public"]), "LANG": "C.UTF-8", **SANITIZER}

    def vaultctl(self, user, *arguments, stdin=""):
        """One vaultctl under that uid; the CompletedProcess."""
        return subprocess.run(self.command(*arguments), input=stdin, text=True, capture_output=True, timeout=60, env=self.environment(), **as_user(user))

    def json(self, user, *arguments, stdin="", code=0):
        """The last JSON line of `vaultctl --json …`."""
        done = self.vaultctl(user, "--json", *arguments, stdin=stdin)
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr, self.log("vaultd")[-3000:])
        return json.loads(done.stdout.strip().splitlines()[-1])

    def converse(self, user, *arguments):
        conversation = Conversation(self.command("--json", *arguments), user, self.environment())
        self.callback(lambda: conversation.process.poll() is None and conversation.kill())
        return conversation

    def browse(self, user, url, account=None, *options):
        """What the user's browser shows in the end, after signing in at the provider as account."""
        done = subprocess.run([self.root / "bin/browser", "--ca", self.stack.ca, "--login", account or ACCOUNTS[user], *options, url],
                              text=True, capture_output=True, timeout=60, **as_user(user))
        return json.loads(done.stdout)

    def park(self, user, account=None, *options):
        """Connects as far as the quarantine; returns (conversation, page)."""
        terminal = self.converse(user, "connect", "notion", "--no-browser", *options)
        pending = terminal.hear()
        assert pending.get("state") == "pending", pending
        page = self.browse(user, pending["link"], account)
        return terminal, page

    def claim(self, user, code, account=None, want=0):
        """`vaultctl claim`, from elsewhere than the terminal that began; account: of the provider, the user's own by default."""
        return self.json(user, "claim", code, "--account", account_id(account or ACCOUNTS[user]), code=want)

    def connect(self, user, account=None):
        """The whole of `vaultctl connect notion`; returns its last line."""
        terminal, page = self.park(user, account)
        parked = terminal.hear()
        assert parked["state"] == "quarantined", parked
        terminal.say(page["ids"]["claim-code"])
        connected = terminal.hear()
        code, _, errors = terminal.end()
        assert code == 0 and connected["state"] == "connected", (connected, errors)
        return connected

    # The other side

    def grants(self, account):
        """Live tokens that the provider knows for the account."""
        counts = self.stack.http(self.stack.issuer + "/_fixture/grants").json.get(account, {})
        return counts.get("access_tokens", 0), counts.get("refresh_tokens", 0)

    def mcp_calls(self):
        origin = self.stack.url.rsplit("/", 1)[0]
        return [(call["account"], call["tool"]) for call in self.stack.http(origin + "/_fixture/calls").json]

    def ask_platform(self, path, body=None, method=None):
        """Past vaultd: what vaultd says of itself is no evidence."""
        answer = self.stack.http(self.platform_url + path, None if body is None else json.dumps(body).encode(),
                                 {"x-api-key": self.workspace_key, "anthropic-version": "2023-06-01", "anthropic-beta": "managed-agents-2026-04-01",
                                  "content-type": "application/json"}, method)
        assert answer.status == 200, (path, answer.status, answer.text)
        return answer.json

    def platform_all(self, path):
        items, page = [], ""
        while True:
            answer = self.ask_platform(f"{path}?limit=100&include_archived=true{page}")
            items += answer["data"]
            if not answer.get("next_page"):
                return items
            page = "&page=" + answer["next_page"]

    def fault(self, *faults):
        self.ask_platform("/_emulator/faults", list(faults))


def wait_for(condition, seconds=15, what="it did not happen"):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
