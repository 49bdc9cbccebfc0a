#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""pam_vaultd.so under a real libpam, against control sockets that behave well and badly (I6).

$PAM_DRIVER and $PAM_MODULE name the built program and module. Run as a program, by meson test, it reports TAP; its
name keeps it out of what pytest collects by itself, since that knows no build folder."""
import json
import os
import pwd
import socket
import subprocess
import sys
import tempfile
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from control import Control, reply  # noqa: E402

PAM_SUCCESS, PAM_SYSTEM_ERR, PAM_PERM_DENIED, PAM_SESSION_ERR = 0, 4, 6, 14
# The module is alone in the stack; then libpam turns "everybody ignored it" into this.
IGNORED = PAM_PERM_DENIED
USER = pwd.getpwuid(os.getuid())
WITHOUT = f"login of {USER.pw_name} is without a vault: "
REFUSED = f"login of {USER.pw_name} is refused, it would be without a vault: "
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


class Stage:
    """A folder with a PAM configuration, a socket path, and the driver to log in with."""

    def __init__(self, folder):
        self.folder = folder
        self.path = os.path.join(folder, "control")
        self.controls = []
        with open(os.path.join(folder, "other"), "w", encoding="ascii") as file:
            file.write("auth required pam_deny.so\n")

    def control(self, behave=None, **options):
        control = Control(self.path, behave, **options)
        self.controls.append(control)
        return control

    def configure(self, options="", before="", service="test", control="[success=ok ignore=ignore default=die]"):
        with open(os.path.join(self.folder, service), "w", encoding="ascii") as file:
            file.write(f"{before}session {control} {os.environ['PAM_MODULE']} socket={self.path} {options}\n")

    def login(self, *arguments, options="", **configuration):
        self.configure(options, **configuration)
        done = subprocess.run([os.environ["PAM_DRIVER"], self.folder, "test", USER.pw_name, *arguments],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        result = json.loads(done.stdout)
        assert result["start"] == PAM_SUCCESS
        assert not result["signals_changed"]
        return result


@pytest.fixture
def stage():
    with tempfile.TemporaryDirectory(prefix="vaultd-pam-") as folder:
        os.chmod(folder, 0o755)
        stage = Stage(folder)
        yield stage
        for control in stage.controls:
            control.close()


def answer(data, then_close=True):
    """A server that answers every Open with these bytes."""
    def behave(connection, stop):
        connection.sock.sendall(data)
        if not then_close:
            stop.wait(10)
    return behave


def well(connection, stop):
    connection.sock.sendall(reply({"session": "01J-abc.def_9"}))


def hang(connection, stop):
    stop.wait(10)


def assert_without(result, reason, at_most=2.1, at_least=0.0):
    assert result["open"] == IGNORED
    assert result["session"] == ""
    assert len(result["log"]) == 1, result["log"]
    assert WITHOUT + reason in result["log"][0]
    assert at_least <= result["open_usec"] / 1e6 <= at_most


# When all is well

def test_success_sets_the_session_in_the_environment(stage):
    stage.control(well)
    result = stage.login()
    assert result["open"] == PAM_SUCCESS
    assert result["session"] == "01J-abc.def_9"
    assert result["log"] == []


def test_open_names_the_user_and_the_leader(stage):
    control = stage.control(well)
    stage.login("tty=/dev/pts/7", "rhost=192.0.2.1")
    call = control.wait_for_calls(1)[0]
    leader = call["parameters"].pop("leader")
    assert call == {"method": "io.vaultd.Login.Open", "parameters": {
        "uid": USER.pw_uid, "user": USER.pw_name, "service": "test", "tty": "/dev/pts/7", "rhost": "192.0.2.1"}}
    assert leader == control.connections[0].peer[0]


def test_labels_that_nobody_set_are_left_out(stage):
    control = stage.control(well)
    stage.login()
    assert set(control.wait_for_calls(1)[0]["parameters"]) == {"uid", "user", "service", "leader"}


@pytest.mark.parametrize("label", [b"caf\xe9", b"\xed\xa0\x80", b"x" * 257], ids=["latin1", "surrogate", "overlong"])
def test_strange_label_costs_the_label_not_the_vault(stage, label):
    control = stage.control(well)
    result = stage.login(b"rhost=" + label, "tty=tty1")
    assert result["open"] == PAM_SUCCESS
    assert "rhost" not in control.wait_for_calls(1)[0]["parameters"]


def test_label_is_escaped(stage):
    control = stage.control(well)
    stage.login('rhost=a"},"uid":0,"x":{"\\\n')
    parameters = control.wait_for_calls(1)[0]["parameters"]
    assert parameters["rhost"] == 'a"},"uid":0,"x":{"\\\n'
    assert parameters["uid"] == USER.pw_uid


def test_close_names_the_session_and_wants_no_answer(stage):
    control = stage.control(well)
    result = stage.login()
    assert result["close"] == PAM_SUCCESS
    assert control.wait_for_calls(2)[1] == {
        "method": "io.vaultd.Login.Close", "parameters": {"session": "01J-abc.def_9"}, "oneway": True}


def test_module_that_stands_twice_registers_once(stage):
    control = stage.control(well)
    line = f"session [success=ok ignore=ignore default=die] {os.environ['PAM_MODULE']} socket={stage.path}\n"
    assert stage.login(before=line)["open"] == PAM_SUCCESS
    control.wait_for_calls(2)
    time.sleep(0.1)
    assert [call["method"].rpartition(".")[2] for call in control.calls] == ["Open", "Close"]


def test_debug_tells_each_step(stage):
    stage.control(well)
    log = stage.login(options="debug")["log"]
    assert len(log) == 2 and "registered login session 01J-abc.def_9" in log[0] and "has ended" in log[1]


# When the daemon is away or misbehaves

def test_absent_daemon_is_ignored_at_once(stage):
    assert_without(stage.login(), "cannot connect to vaultd: No such file or directory", at_most=0.2)


def test_socket_without_listener_is_ignored_at_once(stage):
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(stage.path)
    left.close()
    assert_without(stage.login(), "cannot connect to vaultd: Connection refused", at_most=0.2)


def test_login_goes_on_without_a_vault(stage):
    result = stage.login(before="session required pam_permit.so\n", control="optional")
    assert result["open"] == PAM_SUCCESS and result["session"] == ""


def test_hanging_daemon_costs_the_default_and_no_more(stage):
    stage.control(hang)
    assert_without(stage.login(), "vaultd did not answer in time", at_least=1.45, at_most=1.9)


def test_full_backlog_costs_the_default_and_no_more(stage):
    stage.control(backlog=0).fill_backlog()
    assert_without(stage.login(), "vaultd does not take connections", at_least=1.45, at_most=1.9)


def test_listener_that_accepts_nothing_costs_the_default_and_no_more(stage):
    stage.control()
    assert_without(stage.login(), "vaultd did not answer in time", at_least=1.45, at_most=1.9)


def test_one_byte_a_second_costs_the_default_and_no_more(stage):
    def trickle(connection, stop):
        for byte in reply({"session": "abc"}):
            connection.sock.sendall(bytes([byte]))
            if stop.wait(1):
                return
    stage.control(trickle)
    assert_without(stage.login(), "vaultd did not answer in time", at_least=1.45, at_most=1.9)


def test_steady_trickle_does_not_move_the_deadline(stage):
    def trickle(connection, stop):
        while not stop.wait(0.001):
            connection.sock.sendall(b" ")
    stage.control(trickle)
    assert_without(stage.login(options="timeout=0.4"), "vaultd did not answer in time", at_least=0.35, at_most=0.5)


def test_signals_do_not_move_the_deadline(stage):
    stage.control(hang)
    assert_without(stage.login("alarm", options="timeout=0.4"), "vaultd did not answer in time", at_least=0.35, at_most=0.5)


def test_signals_do_not_move_the_deadline_of_a_full_backlog(stage):
    stage.control(backlog=0).fill_backlog()
    assert_without(stage.login("alarm", options="timeout=0.4"), "vaultd does not take connections", at_least=0.35, at_most=0.5)


def test_place_that_gets_free_in_the_backlog_is_taken(stage):
    def accept_late(control):
        time.sleep(0.3)
        control.behave = well
        control._accept()
    control = stage.control(backlog=0)
    control.fill_backlog()
    for filler in control.fillers:
        filler.close()
    control._start(accept_late, control)
    result = stage.login()
    assert result["open"] == PAM_SUCCESS and result["session"] == "01J-abc.def_9"


@pytest.mark.parametrize("timeout", ["0.1", "0.5"])
def test_timeout_is_kept(stage, timeout):
    stage.control(hang)
    assert_without(stage.login(options=f"timeout={timeout}"), "vaultd did not answer in time",
                   at_least=float(timeout) - 0.02, at_most=float(timeout) + 0.1)


def test_connection_closed_without_an_answer(stage):
    stage.control(lambda connection, stop: None)
    assert_without(stage.login(), "vaultd closed the connection without an answer", at_most=0.2)


def test_half_closed_connection(stage):
    def half(connection, stop):
        connection.sock.shutdown(socket.SHUT_WR)
        stop.wait(10)
    stage.control(half)
    assert_without(stage.login(), "vaultd closed the connection without an answer", at_most=0.2)


def test_answer_cut_before_its_end(stage):
    stage.control(answer(reply({"session": "abc"})[:-1]))
    assert_without(stage.login(), "vaultd closed the connection without an answer", at_most=0.2)


NOT_JSON = {
    "garbage": b"\xff\xfe\x00\x01garbage\0",
    "html": b"<html></html>\0",
    "nothing": b"\0",
    "two-keys": b'{"parameters":{"session":"a","session":"b"}}\0',
    "two-keys-escaped": b'{"parameters":{"session":"a","\\u0073ession":"b"}}\0',
    "nul": b'{"parameters":{"session":"a\\u0000b"}}\0',
    "deep": b'{"parameters":' + b"[" * 40 + b"]" * 40 + b"}\0",
    "nan": b'{"parameters":{"session":"a","x":NaN}}\0',
    "utf8": b'{"parameters":{"session":"a\xff"}}\0',
    "trailing": b'{"parameters":{"session":"a"}} x\0',
}
WRONG = {
    "array": b"[]\0",
    "string": b'"abc"\0',
    "null": b"null\0",
    "empty": b"{}\0",
    "no-session": b'{"parameters":{}}\0',
    "number": b'{"parameters":{"session":1}}\0',
    "session-null": b'{"parameters":{"session":null}}\0',
    "object": b'{"parameters":{"session":{"id":"a"}}}\0',
    "parameters-string": b'{"parameters":"session"}\0',
    "empty-id": b'{"parameters":{"session":""}}\0',
    "new-line": b'{"parameters":{"session":"a\\nLD_PRELOAD=/x"}}\0',
    "equals": b'{"parameters":{"session":"a=b"}}\0',
    "space": b'{"parameters":{"session":"a b"}}\0',
    "umlaut": '{"parameters":{"session":"ä"}}\0'.encode(),
    "long": b'{"parameters":{"session":"' + b"a" * 129 + b'"}}\0',
    "continues": b'{"parameters":{"session":"a"},"continues":true}\0',
    "continues-text": b'{"parameters":{"session":"a"},"continues":"no"}\0',
    "error-type": b'{"error":1,"parameters":{"session":"a"}}\0',
}


@pytest.mark.parametrize("data", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_answer_that_is_not_strict_json(stage, data):
    stage.control(answer(data, then_close=False))
    assert_without(stage.login(), "the reply of vaultd is ", at_most=0.2)


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG.keys())
def test_answer_of_another_form(stage, data):
    stage.control(answer(data, then_close=False))
    assert_without(stage.login(), "the reply of vaultd is not what io.vaultd.Login says", at_most=0.2)


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 8 * 1024 * 1024], ids=["just", "far"])
def test_oversized_answer(stage, size):
    stage.control(answer(b" " * size + b"\0"))
    assert_without(stage.login(), "cannot receive from vaultd: Message too long", at_most=1.0)


def test_longest_id_is_taken(stage):
    stage.control(answer(reply({"session": "a" * 128})))
    assert stage.login()["session"] == "a" * 128


def test_error_of_the_daemon_is_named(stage):
    stage.control(answer(b'{"error":"io.vaultd.StoreFull","parameters":{"message":"secret text"}}\0'))
    result = stage.login()
    assert_without(result, "vaultd refused: io.vaultd.StoreFull")
    assert "secret text" not in result["log"][0]


def test_error_name_cannot_write_to_the_log(stage):
    stage.control(answer(b'{"error":"x\\n\\u001b[31mforged","parameters":{}}\0'))
    result = stage.login()
    assert_without(result, "vaultd refused")
    assert "forged" not in result["log"][0]


def test_descriptors_from_the_daemon_are_dropped(stage):
    def pass_descriptors(connection, stop):
        socket.send_fds(connection.sock, [reply({"session": "abc"})], [0, 1, 2])
    stage.control(pass_descriptors)
    result = stage.login("repeat=20")
    assert result["successes"] == 20 and result["leaked"] == 0


def test_user_that_does_not_exist_is_ignored(stage):
    control = stage.control(well)
    stage.configure()
    done = subprocess.run([os.environ["PAM_DRIVER"], stage.folder, "test", "no\x1b[31m-such-user"], stdout=subprocess.PIPE, check=True)
    result = json.loads(done.stdout)
    assert result["open"] == IGNORED and control.calls == []
    assert len(result["log"]) == 1 and "the user is not known" in result["log"][0] and "\x1b" not in result["log"][0]


# Options

@pytest.mark.parametrize("behave", [None, hang, answer(b"garbage\0"), answer(b'{"error":"io.vaultd.VaultClosed"}\0')],
                         ids=["away", "hanging", "garbage", "error"])
def test_required_refuses(stage, behave):
    if behave:
        stage.control(behave)
    result = stage.login(options="required timeout=0.3")
    assert result["open"] == PAM_SESSION_ERR and result["session"] == ""
    assert len(result["log"]) == 1 and REFUSED in result["log"][0]


def test_required_lets_a_registered_login_in(stage):
    stage.control(well)
    assert stage.login(options="required")["open"] == PAM_SUCCESS


def test_user_without_a_vault_by_policy_is_let_in_quietly(stage):
    stage.control(answer(b'{"error":"io.vaultd.NotAllowed","parameters":{"message":"no"}}\0'))
    result = stage.login(options="required")
    assert result["open"] == IGNORED and result["log"] == []


def test_quiet_says_nothing(stage):
    result = stage.login(options="quiet")
    assert result["open"] == IGNORED and result["log"] == []


def test_quiet_does_not_hide_a_refusal(stage):
    result = stage.login(options="quiet required")
    assert result["open"] == PAM_SESSION_ERR and len(result["log"]) == 1


# What the user is told

NOTICE = "Notion credentials need to be connected again. Run: vaultctl connect notion"


def noticing(notice):
    return answer(reply({"session": "s", "notice": notice}))


def test_notice_is_shown_a_line_for_each_service(stage):
    stage.control(noticing(NOTICE + "\nSlack credentials"))
    result = stage.login(options="notify=yes")
    assert result["open"] == PAM_SUCCESS and result["shown"] == [NOTICE, "Slack credentials"] and result["log"] == []


@pytest.mark.parametrize("options", ["", "notify=no"])
def test_notice_is_shown_only_where_the_option_says_so(stage, options):
    stage.control(noticing(NOTICE))
    result = stage.login(options=options)
    assert result["open"] == PAM_SUCCESS and result["shown"] == []


def test_notice_is_not_shown_to_a_program_that_wants_silence(stage):
    stage.control(noticing(NOTICE))
    assert stage.login("silent", options="notify=yes")["shown"] == []


def test_notice_cannot_act_on_the_terminal_and_cannot_flood_it(stage):
    stage.control(noticing("\x1b]0;evil\x07a\u202eb\r\n" + "x" * 5000 + "\n" * 50 + "".join(f"line {i}\n" for i in range(50))))
    result = stage.login(options="notify=yes")
    assert result["open"] == PAM_SUCCESS and len(result["shown"]) <= 8
    for line in result["shown"]:
        assert len(line) <= 200 and line.isprintable() and "\x1b" not in line and "\u202e" not in line, line


@pytest.mark.parametrize("notice", [7, ["a"], {"a": 1}, None, True])
def test_notice_that_is_none_does_not_touch_the_login(stage, notice):
    stage.control(noticing(notice))
    result = stage.login(options="notify=yes required")
    assert result["open"] == PAM_SUCCESS and result["session"] == "s" and result["shown"] == [] and result["log"] == []


def test_wrong_option_is_reported_and_the_others_hold(stage):
    stage.control(hang)
    result = stage.login(options="timeout=0.2 timeout=soon requird")
    assert result["open"] == IGNORED
    assert result["open_usec"] < 400000
    assert [line for line in result["log"] if "is not known" in line] == result["log"][:2]
    assert len(result["log"]) == 3


# Close

def test_close_of_a_hanging_daemon_waits_for_nothing(stage):
    control = stage.control(well)

    def answer_then_stop(connection, stop):
        control.stop.set()
        control.listener.listen(0)
        control.fill_backlog()
        time.sleep(0.05)  # a last accept may have been under way
        control.fill_backlog()
        well(connection, stop)
    control.behave = answer_then_stop
    result = stage.login()
    assert result["open"] == PAM_SUCCESS and result["close"] == PAM_SUCCESS
    assert result["close_usec"] < 60000


def test_close_without_an_open_session_sends_nothing(stage):
    control = stage.control(answer(b"garbage\0"))
    stage.login()
    time.sleep(0.1)
    assert len(control.calls) == 1


def test_close_of_a_daemon_that_has_gone_is_quick_and_silent(stage):
    control = stage.control(well)

    def answer_then_go(connection, stop):
        os.rename(stage.path, stage.path + ".gone")
        well(connection, stop)
        stop.wait(0.5)
        os.rename(stage.path + ".gone", stage.path)
    control.behave = answer_then_go
    result = stage.login()
    assert result["close"] == PAM_SUCCESS and result["close_usec"] < 60000 and result["log"] == []


# Inside other programs

def test_no_descriptor_is_left_after_1000_sessions(stage):
    stage.control(well, backlog=4096)
    result = stage.login("repeat=1000")
    assert result["successes"] == 1000 and result["leaked"] == 0


def test_no_descriptor_is_left_after_failures(stage):
    stage.control(answer(b"garbage\0"), backlog=4096)
    result = stage.login("repeat=100")
    assert result["successes"] == 0 and result["leaked"] == 0


def test_threads_do_not_disturb_each_other(stage):
    stage.control(well, backlog=4096)
    result = stage.login("threads=8", "repeat=50")
    assert result["successes"] == 400 and result["leaked"] == 0


def test_program_without_free_descriptors_is_ignored(stage):
    stage.control(well)
    result = stage.login("nofile=0")
    assert WITHOUT in result["log"][0] and result["session"] == ""
    assert result["open_usec"] < 200000
    # libpam makes a failure of its own out of an audit socket that it cannot open; ours would be PAM_SESSION_ERR.
    assert result["open"] in (IGNORED, PAM_SYSTEM_ERR)


@pytest.mark.parametrize("limit", ["64", "1048576"])
def test_any_descriptor_limit_will_do(stage, limit):
    stage.control(well)
    assert stage.login(f"nofile={limit}")["open"] == PAM_SUCCESS


@needs_root
def test_setuid_program_presents_its_effective_uid(stage):
    control = stage.control(well)
    os.chmod(stage.folder, 0o755)
    assert stage.login("real-uid=65534")["open"] == PAM_SUCCESS
    control.wait_for_calls(2)
    for connection in control.connections:
        assert connection.peer[1] == 0
        assert connection.credentials and all(one == connection.peer for one in connection.credentials)


@needs_root
def test_listener_of_another_user_is_not_believed(stage):
    os.chmod(stage.folder, 0o777)
    ready, started = os.pipe()
    child = os.fork()
    if child == 0:
        os.setresuid(65534, 65534, 65534)
        control = Control(stage.path, well)
        os.write(started, b".")
        time.sleep(30)
        os._exit(0 if control else 1)
    try:
        assert os.read(ready, 1) == b"."
        result = stage.login()
        assert_without(result, "the listener of the socket is not root", at_most=0.2)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(started)
        os.unlink(stage.path)


class Tap:
    """Reports each test as a line of TAP on standard output, where pytest's own report goes to standard error."""

    def __init__(self):
        self.n = 0
        self.out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def say(self, text):
        print(text, file=self.out, flush=True)

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed" and report.when == "setup":
            self.n += 1
            name = report.nodeid.rpartition("::")[2]
            skip = " # SKIP " + report.longrepr[2] if report.skipped else ""
            self.say(f"{'not ok' if report.failed else 'ok'} {self.n} - {name.replace('#', ' ')}{skip}")
            if report.failed:
                self.say("\n".join("# " + line for line in report.longreprtext.splitlines()))

    def pytest_sessionfinish(self):
        self.say(f"1..{self.n}")


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[Tap()]))
