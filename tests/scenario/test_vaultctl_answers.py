# SPDX-License-Identifier: LGPL-2.1-or-later
"""What vaultctl answers: exit codes, the exact words of a fault, JSON alone on stdout, nothing that acts on a terminal."""

import json
import os
import stat
import subprocess

import pytest

from fake_vaultd import CLAIMED, VAULTCTL, WHOAMI, Error, FakeVaultd, Terminal, documents, environment, run

NOT_CONNECTED = Error("io.vaultd.NotConnected", service="notion", title="Notion", message="Notion credentials not configured",
                      hint="Run: vaultctl connect notion")
CODES = {
    "NotConnected": 3, "NotAllowed": 4, "NotFound": 1, "NoSuchService": 1, "VaultClosed": 4, "FlowFailed": 1, "ClaimRejected": 1,
    "AccountChanged": 1, "PlanChanged": 1, "UpstreamFailed": 6, "PlatformFailed": 6, "NotConfigured": 1, "LimitExceeded": 1,
    "StoreFull": 1, "Damaged": 1, "Internal": 1, "ErrorOfALaterVersion": 1,
}
COMMANDS = ["status", "whoami", "services", "connect", "claim", "check", "disconnect", "web", "session start", "session list", "session show", "doctor"]
STATUS = {"uid": 1001, "user": "alice", "vault": WHOAMI["vault"], "connections": [], "flows": [], "logins": [], "platform": True}
SESSION = {"id": "sess_1", "title": "T", "status": "idle", "created": 1_800_000_000_000_000, "vaultIds": ["vlt_1"],
           "servers": ["notion"], "accounts": ["Alice"], "agent": "agent_1", "agentVersion": 3, "environment": "env_1"}
PLAN = {"digest": "d1", "vault": "vlt_1", "model": "claude", "servers": [
    {"service": "notion", "title": "Notion", "url": "https://mcp.notion.test/mcp", "account": "Alice",
     "toolsOn": ["search", "fetch"], "toolsAsk": ["create"]}]}


@pytest.mark.parametrize("name,code", CODES.items())
def test_error_name_decides_exit_code(name, code):
    error = Error("io.vaultd." + name, message="What happened", hint="Run: this", triesLeft=0)
    with FakeVaultd({"io.vaultd.Status": error}) as server:
        result = run(server, "status")
        assert (result.returncode, result.stdout, result.stderr) == (code, "", "What happened\nRun: this\n")
        result = run(server, "status", "--json")
        assert (result.returncode, result.stderr) == (code, "")
        assert documents(result) == [{"error": "io.vaultd." + name, "message": "What happened", "hint": "Run: this", "triesLeft": 0}]


@pytest.mark.parametrize("name,code", [("PermissionDenied", 4), ("MethodNotFound", 1), ("InvalidParameter", 1)])
def test_varlink_errors_get_words(name, code):
    with FakeVaultd({"io.vaultd.Status": Error("org.varlink.service." + name, parameter="label")}) as server:
        result = run(server, "status")
        assert result.returncode == code and len(result.stderr.strip()) > 10


def test_hint_absent_leaves_one_line():
    with FakeVaultd({"io.vaultd.Status": Error("io.vaultd.Internal", message="Broken")}) as server:
        assert run(server, "status").stderr == "Broken\n"
        assert documents(run(server, "status", "--json")) == [{"error": "io.vaultd.Internal", "message": "Broken"}]


def test_missing_connection_has_the_exact_text():
    with FakeVaultd({"io.vaultd.Session.Plan": NOT_CONNECTED}) as server:
        result = run(server, "session", "start")
        assert (result.returncode, result.stdout) == (3, "")
        assert result.stderr == "Notion credentials not configured\nRun: vaultctl connect notion\n"


def test_daemon_cannot_speak_as_the_client():
    with FakeVaultd({"io.vaultd.Status": Error("io.vaultd.client.Unreachable", message="x")}) as server:
        result = run(server, "status", "--json")
        assert result.returncode == 1 and documents(result)[0]["error"] == "io.vaultd.client.BadReply"


@pytest.mark.parametrize("command,method,reply", [
    ("whoami", "WhoAmI", WHOAMI), ("status", "Status", STATUS), ("services", "Services", {"services": []}),
    ("check", "Connect.Check", {"results": []}),
    ("disconnect notion", "Connect.Disconnect", {"service": "notion", "title": "Notion", "revoked": True}),
    ("session list", "Session.List", {"sessions": [SESSION]}), ("session show sess_1", "Session.Show", {"session": SESSION}),
])
def test_json_is_the_daemons_answer(command, method, reply):
    with FakeVaultd({"io.vaultd." + method: reply}) as server:
        for words in (["--json", *command.split()], [*command.split(), "--json"]):
            result = run(server, *words)
            assert (result.returncode, result.stderr, documents(result)) == (0, "", [reply])


def test_whoami_json_always_has_session_and_vault():
    with FakeVaultd({"io.vaultd.WhoAmI": {"uid": 5, "user": "bob", "origin": "unproven"}}) as server:
        assert documents(run(server, "whoami", "--json")) == [
            {"uid": 5, "user": "bob", "origin": "unproven", "session": None, "vault": None}]


def test_claim_passes_the_code_and_says_connected():
    with FakeVaultd({"io.vaultd.Connect.Claim": CLAIMED}) as server:
        result = run(server, "claim", "ABCD-1234", "--account", "acc-1")
        assert result.returncode == 0 and "Notion is connected as Alice at Notion (acc-1)." in result.stdout
        assert documents(run(server, "claim", "-", "--account=acc-1", "--json", stdin=" FROM-STDIN \n")) == [{"state": "connected", **CLAIMED}]
        assert server.parameters_of("Connect.Claim") == [{"code": "ABCD-1234", "account": "acc-1"}, {"code": "FROM-STDIN", "account": "acc-1"}]
        assert run(server, "claim", "-", "--account", "acc-1").returncode == 2


def test_labels_reach_the_daemon():
    with FakeVaultd({"io.vaultd.Connect.Disconnect": {"service": "notion", "title": "Notion", "revoked": False, "notice": "N"}}) as server:
        result = run(server, "disconnect", "notion", "--as=work")
        assert result.returncode == 0 and "not revoked" in result.stdout and "\nN\n" in result.stdout
        assert server.parameters_of("Connect.Disconnect") == [{"service": "notion", "label": "work"}]


def test_disconnect_says_what_goes_on_at_the_service():
    with FakeVaultd({"io.vaultd.Connect.Disconnect": {"service": "notion", "title": "Notion", "revoked": False, "pending": True, "notice": "N"}}) as server:
        result = run(server, "disconnect", "notion")
        assert result.returncode == 0 and result.stdout == "Notion is disconnected: out of use here, and still to be revoked there.\nN\n"


def test_no_identity_is_ever_sent():
    with FakeVaultd({"io.vaultd.Status": STATUS, "io.vaultd.Services": {"services": []}, "io.vaultd.Session.List": {"sessions": []},
                     "io.vaultd.Doctor": {"findings": []}, "org.varlink.service.GetInfo": {"version": "1"}}) as server:
        for command in ("status", "services", "whoami", "session list", "doctor"):
            run(server, *command.split())
        assert len(server.calls) >= 6 and all(call["parameters"] == {} for call in server.calls)


# Terminal safety

HOSTILE = "A\x1b]0;owned\x07B\x9b31mC\u202eD\rE\nF"


def test_hostile_text_is_stripped():
    status = {**STATUS, "user": HOSTILE, "connections": [
        {"service": HOSTILE, "title": HOSTILE, "label": HOSTILE, "account": {"id": HOSTILE, "name": "n" + HOSTILE},
         "state": "needs-reconnect", "custody": HOSTILE}]}
    with FakeVaultd({"io.vaultd.Status": status, "io.vaultd.Services": Error("io.vaultd.Internal", message=HOSTILE, hint=HOSTILE)}) as server:
        shown = [run(server, "status").stdout, run(server, "services").stderr]
        with Terminal(server, "status", env=environment(server, NO_COLOR="1")) as terminal:
            assert terminal.finish() == 0
            shown.append(terminal.text.replace("\r\n", "\n"))
    for text in shown:
        assert "A?]0;owned" in text
        assert not [c for c in text if (ord(c) < 0x20 and c != "\n") or 0x7f <= ord(c) < 0xa0 or c == "\u202e"]


def test_hostile_text_in_json_is_escaped_and_equal():
    with FakeVaultd({"io.vaultd.WhoAmI": {**WHOAMI, "user": HOSTILE + "\x7f\u2028é€😀"}}) as server:
        result = run(server, "whoami", "--json")
        assert documents(result)[0]["user"] == HOSTILE + "\x7f\u2028é€😀"
        assert not [c for c in result.stdout if (ord(c) < 0x20 and c != "\n") or 0x7f <= ord(c) < 0xa0 or c in "\u202e\u2028"]


def test_message_cannot_fill_the_screen():
    with FakeVaultd({"io.vaultd.Status": Error("io.vaultd.Internal", message="x" * 500_000)}) as server:
        assert len(run(server, "status").stderr) < 5000


def test_colour_only_on_a_terminal_and_without_no_color():
    with FakeVaultd({"io.vaultd.Status": {**STATUS, "connections": [
            {"service": "notion", "title": "Notion", "label": "default", "account": {"id": "a", "name": "b"}, "state": "active",
             "custody": "host"}]}}) as server:
        assert "\x1b" not in run(server, "status").stdout
        for changes, is_coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)):
            with Terminal(server, "status", env=environment(server, **changes)) as terminal:
                assert terminal.finish() == 0
                assert ("\x1b[1m" in terminal.text) == is_coloured, changes


def test_columns_align_for_wide_characters():
    services = [{"name": name, "title": "T", "url": "https://u/", "custody": "host", "connected": False} for name in ("東京", "plain-name")]
    with FakeVaultd({"io.vaultd.Services": {"services": services}}) as server:
        lines = run(server, "services").stdout.splitlines()
        assert lines[1].index(" T ") + 2 == lines[2].index(" T ") == lines[0].index(" TITLE")


# Usage

def test_every_command_explains_itself_with_an_example():
    for command in COMMANDS:
        result = run(None, *command.split(), "--help")
        assert result.returncode == 0 and "Usage: vaultctl " + command in result.stdout and "Example:\n  vaultctl " in result.stdout
        assert all(len(line) <= 80 for line in result.stdout.splitlines())
    overview = run(None, "--help").stdout
    assert all(f"  {command} " in overview for command in COMMANDS)


@pytest.mark.parametrize("words,hint", [
    ("conect notion", "Did you mean: vaultctl connect"), ("session strat", "Did you mean: vaultctl session start"),
    ("xyzzy", "Run: vaultctl --help"), ("--bogus", "Run: vaultctl --help"), ("connect", "Usage: vaultctl connect SERVICE"),
    ("connect a b", "Usage: vaultctl connect SERVICE"), ("connect a --as", "Run: vaultctl connect --help"),
    ("connect a --as --yes", "Run: vaultctl connect --help"), ("connect a --as b --as c", "Run: vaultctl connect --help"),
    ("connect a --paste=yes", "Run: vaultctl connect --help"), ("connect a -y", "Run: vaultctl connect --help"),
    ("session", "Run: vaultctl --help"),
])
def test_wrong_usage_is_exit_2_with_a_hint(words, hint):
    result = run(None, *words.split())
    assert (result.returncode, result.stdout) == (2, "") and result.stderr.splitlines()[1].startswith(hint)
    result = run(None, *words.split(), "--json")
    assert (result.returncode, result.stderr) == (2, "") and documents(result)[0]["error"] == "io.vaultd.client.Usage"


def test_no_command_is_exit_2():
    result = run(None)
    assert (result.returncode, result.stdout) == (2, "") and "Commands:" in result.stderr


def test_invalid_utf8_is_a_usage_fault():
    result = subprocess.run([VAULTCTL, b"connect", b"\xff\xfe"], capture_output=True, env=environment("/nonexistent"), check=False)
    assert result.returncode == 2


def test_output_that_cannot_be_written_is_a_fault():
    with FakeVaultd({}) as server, open("/dev/full", "w") as full:
        result = subprocess.run([VAULTCTL, "whoami"], stdout=full, stderr=subprocess.PIPE, env=environment(server), check=False)
        assert result.returncode == 1 and b"Cannot write" in result.stderr


def test_socket_option_beats_the_variable():
    with FakeVaultd({}) as server:
        assert run("/nonexistent/x", "--socket", server.path, "whoami").returncode == 0
        assert run("/nonexistent/x", "whoami", f"--socket={server.path}").returncode == 0


def test_setuid_copy_refuses(tmp_path):
    if os.geteuid() != 0 or os.statvfs(tmp_path).f_flag & os.ST_NOSUID:
        pytest.skip("needs root and a file system that honours setuid")
    copy = tmp_path / "vaultctl"
    copy.write_bytes(open(VAULTCTL, "rb").read())
    copy.chmod(0o4755 | stat.S_ISUID)
    for directory in (tmp_path, *tmp_path.parents):
        if not directory.stat().st_mode & 0o001:
            directory.chmod(directory.stat().st_mode | 0o001)
    result = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", str(copy), "--version"],
                            capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "setuid" in result.stderr


# Sessions

def session_server(**methods):
    return FakeVaultd({"io.vaultd.Session.Plan": PLAN, "io.vaultd.Session.Start": {"session": SESSION}, **methods})


def test_session_start_without_terminal_needs_yes():
    with session_server() as server:
        result = run(server, "session", "start")
        assert result.returncode == 2 and "Run: vaultctl session start --yes" in result.stderr
        assert "search, fetch" in result.stdout and "everything else" in result.stdout
        assert server.parameters_of("Session.Start") == []


def test_session_start_shows_the_plan_and_starts_exactly_it():
    with session_server() as server:
        result = run(server, "session", "start", "--yes", "--server", "notion", "--server=slack", "--title", "T", "--message", "M")
        assert result.returncode == 0 and "create" in result.stdout and "Alice" in result.stdout and "vlt_1" in result.stdout
        assert server.parameters_of("Session.Plan") == [{"servers": ["notion", "slack"]}]
        assert server.parameters_of("Session.Start") == [{"plan": "d1", "title": "T", "message": "M", "servers": ["notion", "slack"]}]


def test_session_start_json_is_one_document():
    with session_server() as server:
        assert documents(run(server, "session", "start", "--yes", "--json")) == [{"session": SESSION}]
        result = run(server, "session", "start", "--json")
        assert result.returncode == 2 and result.stderr == "" and documents(result)[0]["error"] == "io.vaultd.client.Usage"


@pytest.mark.parametrize("answer,code,n_starts", [("y", 0, 1), ("n", 1, 0), ("", 1, 0)])
def test_session_start_asks_on_a_terminal(answer, code, n_starts):
    with session_server() as server, Terminal(server, "session", "start") as terminal:
        terminal.expect("everything else")
        terminal.expect("Start this session? [y/N]")
        assert server.parameters_of("Session.Start") == []
        terminal.send(answer)
        assert terminal.finish() == code and len(server.parameters_of("Session.Start")) == n_starts


def test_plan_changed_starts_nothing_and_says_so():
    with session_server(**{"io.vaultd.Session.Start": Error("io.vaultd.PlanChanged", message="It changed", hint="Look again")}) as server:
        result = run(server, "session", "start", "--yes")
        assert (result.returncode, result.stderr) == (1, "It changed\nLook again\n")


# Doctor

def doctor_server(*findings, version=None):
    with open(os.path.join(os.path.dirname(VAULTCTL), "..", "config.h"), encoding="utf-8") as config:
        built = next(line.split('"')[1] for line in config if "VAULTD_VERSION" in line)
    return FakeVaultd({"org.varlink.service.GetInfo": {"vendor": "v", "product": "vaultd", "version": version or built, "url": "u",
                                                       "interfaces": []},
                       "io.vaultd.Doctor": {"findings": list(findings)}})


def test_doctor_without_faults_is_exit_0():
    with doctor_server({"check": "store", "verdict": "ok", "message": "fine"}, {"check": "k", "verdict": "warning", "message": "w"}) as server:
        result = run(server, "doctor")
        assert result.returncode == 0 and "No faults were found." in result.stdout and "store: fine" in result.stdout


@pytest.mark.parametrize("verdict", ["fault", "a-verdict-of-tomorrow"])
def test_doctor_fault_is_exit_1_with_the_hint(verdict):
    with doctor_server({"check": "key", "verdict": verdict, "message": "no key", "hint": "Run: vaultctl admin init"}) as server:
        result = run(server, "doctor")
        assert result.returncode == 1 and "Run: vaultctl admin init" in result.stdout and "1 fault was found." in result.stdout
        assert {"check": "key", "verdict": verdict, "message": "no key", "hint": "Run: vaultctl admin init"} in \
            documents(run(server, "doctor", "--json"))[0]["findings"]


def test_doctor_names_another_version():
    with doctor_server(version="99.0") as server:
        result = run(server, "doctor")
        assert result.returncode == 0 and "vaultd is version 99.0" in result.stdout


def test_doctor_works_without_a_daemon(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        result = run(str(path), "doctor")
        assert result.returncode == 1 and "socket" in result.stdout
        assert json.loads(run(str(path), "doctor", "--json").stdout)["findings"][0]["verdict"] == "fault"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a mount namespace")
@pytest.mark.parametrize("uid,code", [(0, 0), (65534, 5)])
def test_listener_on_the_system_path_must_be_root(uid, code):
    script = f"""
import json, os, socket, subprocess, sys
os.makedirs("/run/vaultd"); os.chmod("/run/vaultd", 0o777)
os.setresgid({uid}, {uid}, 0); os.setresuid({uid}, {uid}, 0)
s = socket.socket(socket.AF_UNIX); s.bind("/run/vaultd/io.vaultd"); s.listen(4)
if os.fork() == 0:
    while True:
        c, _ = s.accept(); c.recv(4096); c.sendall(json.dumps({{"parameters": {WHOAMI!r}}}).encode() + b"\\0"); c.close()
os.setresuid(0, 0, 0)
os.chmod("/run/vaultd/io.vaultd", 0o666)
r = subprocess.run([sys.argv[1], "whoami"], capture_output=True, text=True)
d = subprocess.run([sys.argv[1], "doctor"], capture_output=True, text=True)
print(json.dumps([r.returncode, r.stdout, r.stderr, d.returncode, d.stdout]))
"""
    # A pid namespace of its own: the server ends with the test, whatever happens.
    result = subprocess.run(["unshare", "-mpf", "--kill-child", "sh", "-c", "mount -t tmpfs tmpfs /run && exec /usr/bin/python3 -c \"$0\" \"$1\"",
                             script, VAULTCTL], capture_output=True, text=True, timeout=60, check=False, env=environment())
    returncode, out, err, doctor_code, doctor = json.loads(result.stdout)
    assert returncode == code, (out, err)
    assert (code == 0) == ("alice" in out) and (code == 0) == ("not root" not in err)
    # The cardboard daemon knows no GetInfo, so doctor finds a fault either way; which one tells them apart.
    assert doctor_code == 1 and ("uid 65534 listens instead of root" in doctor) == (uid != 0)
    assert ("belongs to uid 65534" in doctor) == (uid != 0) and ("root listens\n" in doctor) == (uid == 0)
