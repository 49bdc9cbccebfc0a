# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who is behind a caller: sudo and su (T1), pids (T4), namespaces (T5, T6), and what names nobody (T12, T13); I3, I5."""

import concurrent.futures
import contextlib
import json
import os
import re
import shutil
import subprocess

import pytest
from logins import Login
from world import SANITIZER, UIDS, World, as_user, wait_for

AUTHORITY = ("connect notion --no-browser", "claim AAAA-AAAA --account x", "disconnect notion --yes", "token notion")
USE = ("whoami", "status", "services", "doctor", "session list")


@pytest.fixture(scope="module")
def world():
    """[Identity] stands here even where the tests run in a login of their own."""
    with World(settings="[Identity]\n") as world:
        yield world


@pytest.fixture
def bob(world):
    with Login(world, "bob", rhost="192.0.2.7", tty="ssh") as login:
        yield login


def records(world, after=0):
    """Audit lines of calls: NAME=value fields as a dict each."""
    lines = [line for line in world.log("vaultd")[after:].splitlines() if "VAULTD_ORIGIN=" in line]
    return [dict(re.findall(r"([A-Z_]+)=(\S*)", line)) for line in lines]


def mark(world):
    return len(world.log("vaultd"))


def recorded(world, after, **fields):
    def found():
        return [each for each in records(world, after) if all(each.get(key) == value for key, value in fields.items())]
    return wait_for(found, 5, f"no record with {fields} in {world.log('vaultd')[after:]}")


def test_a_login_of_ones_own_is_proven(world, bob):
    code, answer = bob.vaultctl("whoami")
    assert (code, answer["user"], answer["origin"], answer.get("originUser"), answer.get("loginUid")) == (0, "bob", "login", "bob", UIDS["bob"])
    assert answer["session"] == bob.session


def test_t1_sudo_is_named_and_used_with_a_record_of_both_uids(world, bob):
    for command in USE:
        after = mark(world)
        code, answer = bob.vaultctl(*command.split(), user="alice")
        assert code in (0, 1), (command, answer)
        assert "error" not in answer, answer
        line = recorded(world, after, VAULTD_UID="1001", VAULTD_LOGIN_UID="1002", VAULTD_ORIGIN="elevated", VAULTD_VERDICT="admitted")[0]
        assert line["VAULTD_CGROUP"], line
    code, answer = bob.vaultctl("whoami", user="alice")
    assert (answer["user"], answer["origin"], answer.get("originUser"), answer.get("loginUid"), answer["session"]) == ("alice", "elevated", "bob", 1002, None)


@pytest.mark.parametrize("command", AUTHORITY)
def test_t1_sudo_has_no_authority(world, bob, command):
    after = mark(world)
    code, answer = bob.vaultctl(*command.split(), user="alice")
    assert (code, answer["error"]) == (4, "io.vaultd.NotAllowed"), answer
    assert "bob" in answer["message"] and "1002" in answer["message"]
    assert recorded(world, after, VAULTD_UID="1001", VAULTD_LOGIN_UID="1002", VAULTD_VERDICT="refused")
    assert world.json("alice", "status")["flows"] == []


def test_t1_a_registered_su_login_does_not_make_it_alices_own(world, bob):
    session = bob.register("alice", "su-l")
    code, answer = bob.vaultctl("whoami", user="alice")
    assert (answer["origin"], answer.get("originUser"), answer["session"]) == ("elevated", "bob", session)
    assert bob.vaultctl("disconnect", "notion", "--yes", user="alice")[1]["error"] == "io.vaultd.NotAllowed"


def test_t1_logging_out_does_not_make_it_unknown_who_began(world, bob):
    """sudo -u alice nohup …, then log out: the login is gone, the login uid is not."""
    world.caller("root", "control").reply("io.vaultd.Login.Close", {"session": bob.session})
    code, answer = bob.vaultctl("whoami", user="alice")
    assert (answer["origin"], answer.get("originUser"), answer.get("loginUid")) == ("unproven", None, 1002)
    assert bob.vaultctl("disconnect", "notion", "--yes", user="alice")[1]["error"] == "io.vaultd.NotAllowed"


def test_t1_root_is_not_the_owner_of_a_users_vault(world):
    with Login(world, "root") as root:
        assert root.vaultctl("disconnect", "notion", "--yes", user="alice")[1]["error"] == "io.vaultd.NotAllowed"
        code, answer = root.vaultctl("whoami")
        assert (code, answer["user"], answer["vault"]) == (0, "root", None)


def test_a_forged_login_uid_proves_nothing(world):
    """Where it is unset anybody may write it once; that makes a new audit session, which PAM has not registered."""
    with Login(world, "alice", is_registered=False) as forger, Login(world, "alice"):
        code, answer = forger.vaultctl("whoami")
        assert (answer["origin"], answer.get("loginUid"), answer["session"]) == ("unproven", 1001, None)


def test_an_unset_audit_session_is_no_logins(world):
    """On a host without pam_loginuid a login registers none, and whoever has none either is not in it by that."""
    with Login(world, "alice", has_login_uid=False) as login:
        code, answer = login.vaultctl("whoami")
        assert (answer["origin"], answer.get("originUser"), answer["session"]) == ("unproven", None, None)
        assert login.session in [each["id"] for each in world.json("alice", "status")["logins"]]


def test_the_groups_of_the_caller_are_recorded(world):
    """Those of connect(2), which a process cannot lend itself (SO_PEERGROUPS); they decide nothing yet."""
    after = mark(world)
    subprocess.run(world.command("--json", "disconnect", "notion", "--yes"), capture_output=True, env=world.environment(), timeout=60,
                   user=UIDS["alice"], group=UIDS["alice"], extra_groups=[2001, 2002])
    subprocess.run(world.command("--json", "disconnect", "notion", "--yes"), capture_output=True, env=world.environment(), timeout=60,
                   user=UIDS["alice"], group=2003, extra_groups=range(3000, 3100))
    wait_for(lambda: world.log("vaultd")[after:].count("VAULTD_GROUPS=") >= 2)
    said = re.findall(r"VAULTD_GROUPS=([^=\n]*)$", world.log("vaultd")[after:], re.MULTILINE)
    assert said == ["1001 2001 2002", "2003 " + " ".join(map(str, range(3000, 3032))) + " and 68 more"]


def test_without_a_login_uid_it_is_unproven_and_works(world):
    with Login(world, "alice", has_login_uid=False, is_registered=False) as service:
        code, answer = service.vaultctl("whoami")
        if answer.get("loginUid") is not None:
            pytest.fail("run the tests from a process whose login uid is unset, as this test needs one")
        assert (answer["origin"], answer.get("originUser")) == ("unproven", None)
        assert service.vaultctl("disconnect", "notion", "--yes")[1]["error"] != "io.vaultd.NotAllowed"


# A process of somebody's own login with exactly this pid: clone3(2) with set_tid, which root may.
REUSE = r"""
import ctypes, os, sys
class Arguments(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls",
                                                      "set_tid", "set_tid_size", "cgroup")]
wanted = (ctypes.c_int * 1)(int(sys.argv[1]))
arguments = Arguments(exit_signal=17, set_tid=ctypes.addressof(wanted), set_tid_size=1)
libc = ctypes.CDLL(None, use_errno=True)
pid = libc.syscall(435, ctypes.byref(arguments), ctypes.sizeof(arguments))
if pid == 0:
    with open("/proc/self/loginuid", "w") as file:
        file.write(sys.argv[2])
    print("reused", flush=True)
    sys.stdin.read()
    os._exit(0)
if pid < 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(pid, 0)
"""

# Connects, hands the descriptor on to a child and ends; the child speaks when the file is there.
HAND_ON_AND_WAIT = r"""
import json, os, socket, sys, time
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
mine = os.getpid()
if os.fork():
    os._exit(0)
while os.path.exists(f"/proc/{mine}"):
    time.sleep(0.01)
with open(sys.argv[2] + "/pid", "w") as file:
    file.write(f"{mine}\n")
while not os.path.exists(sys.argv[2] + "/go"):
    time.sleep(0.01)
peer.sendall(json.dumps({"method": "io.vaultd.Connect.Disconnect", "parameters": {"service": "notion"}}).encode() + b"\0")
print(peer.recv(65536).rstrip(b"\0").decode(), flush=True)
"""


def answer_after_reuse(world, run):
    """What vaultd says to Disconnect on a connection whose process has ended and whose pid is a process of alice's own by now; run: starts a
    command as alice and returns its output."""
    folder = world.root / "hand-on"
    folder.mkdir(mode=0o755)
    os.chown(folder, UIDS["alice"], UIDS["alice"])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        # The shell reaps the one that connected and waits for the other one's output.
        job = pool.submit(run, ["/bin/sh", "-c", '/usr/bin/python3 -c "$1" "$2" "$3"; while test ! -e "$3/end"; do sleep 0.05; done', "sh",
                                HAND_ON_AND_WAIT, str(world.sockets["public"]), str(folder)])
        try:
            pid = int(wait_for(lambda: (folder / "pid").exists() and (folder / "pid").read_text(), 10))
            with Login(world, "alice"), subprocess.Popen(["/usr/bin/python3", "-c", REUSE, str(pid), str(UIDS["alice"])], stdin=subprocess.PIPE,
                                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reuse:
                assert reuse.stdout.readline() == "reused\n", reuse.stderr.read()
                (folder / "go").touch()
                (folder / "end").touch()
                answer = json.loads(job.result(20))
                reuse.stdin.close()
                return answer
        finally:
            for name in ("go", "end"):
                (folder / name).touch()


def test_t4_a_reused_pid_lends_nobody_its_login(world, bob):
    """bob, by sudo, connects and ends; his pid becomes a process of alice's own login, where /proc would say that all is well."""
    answer = answer_after_reuse(world, lambda argv: bob.run(argv, "alice")[1])
    assert answer["error"] == "io.vaultd.NotAllowed" and "has ended" in answer["parameters"]["message"], answer


HAND_ON = r"""
import json, os, socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
if os.fork():
    os._exit(0)
import time
while os.getppid() == int(sys.argv[2]):
    time.sleep(0.01)
time.sleep(0.2)
peer.sendall(json.dumps({"method": "io.vaultd.Connect.Start", "parameters": {"service": "notion"}}).encode() + b"\0")
print(peer.recv(65536).rstrip(b"\0").decode(), flush=True)
"""


def test_t4_a_peer_that_ends_before_it_is_looked_at_is_refused(world, bob):
    """The process that connected is reaped, its pid may be anybody's by now: what /proc says then counts for nothing."""
    code, out, err = bob.run(["/bin/sh", "-c", '/usr/bin/python3 -c "$1" "$2" $$; sleep 1', "sh", HAND_ON, world.sockets["public"]], "alice")
    answer = json.loads(out)
    # Its credentials are another process's now, which may have closed the connection before; either way nothing was begun.
    assert answer["error"] == "io.vaultd.NotAllowed", (out, err)
    assert world.json("alice", "status")["flows"] == []


def test_t5_root_of_a_user_namespace_is_the_host_uid(world):
    done = subprocess.run(["unshare", "--user", "--map-root-user", *world.command("--json", "whoami")], capture_output=True, text=True,
                          env=world.environment(), **as_user("bob"))
    answer = json.loads(done.stdout)
    assert (answer["uid"], answer["user"]) == (UIDS["bob"], "bob")


def test_t5_a_sub_uid_is_nobody(world):
    """A container's inner user is a host uid without an account."""
    UIDS["sub"] = 100004
    try:
        reply = world.caller("sub").reply("io.vaultd.Status")
    finally:
        del UIDS["sub"]
    assert reply["error"] == "io.vaultd.NotAllowed" and "100004" in reply["parameters"]["message"]


def test_t5_the_overflow_uid_is_not_answered(world):
    UIDS["overflow"] = 65534
    try:
        assert world.caller("overflow")("io.vaultd.WhoAmI") == b""
    finally:
        del UIDS["overflow"]


def test_t5_vaultd_does_not_start_in_a_user_namespace(fresh_world):
    """There all callers of other namespaces would have the overflow uid."""
    fresh_world.stop_vaultd()
    process = subprocess.Popen(["unshare", "--user", "--map-current-user", *fresh_world.vaultd_command()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, env={**os.environ, **SANITIZER}, **as_user("vaultd"))
    try:
        said, _ = process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        pytest.fail("it runs")
    finally:
        process.kill()
    assert process.returncode != 0 and "runs in a user namespace" in said, said


CONTAINER = ["unshare", "--pid", "--fork", "--mount", "--kill-child"]


def contained(world, argv, directory, user="alice"):
    """Runs in a pid and mount namespace of its own, with the socket bind-mounted to where no policy looks; the container's runtime is root."""
    inside = f"mount --make-rprivate / && touch {directory}/v && mount --bind {world.sockets['public']} {directory}/v && mount -t proc proc /proc && exec \"$@\""
    environment = {**world.environment(), "VAULTD_SOCKET": f"{directory}/v"}
    setpriv = ["setpriv", f"--reuid={UIDS[user]}", f"--regid={UIDS[user]}", "--clear-groups"]
    return subprocess.run([*CONTAINER, "sh", "-c", inside, "sh", *setpriv, *argv], capture_output=True, text=True, env=environment, timeout=60)


def test_t6_a_bind_mounted_socket_is_recorded(world):
    # Not alice, whose budget of such records the tests before may have used up.
    directory = world.root / "shared"
    directory.mkdir(mode=0o755)
    after = mark(world)
    done = contained(world, world.command("--json", "disconnect", "notion", "--yes"), directory, "carol")
    assert json.loads(done.stdout)["error"] == "io.vaultd.NotConnected", done.stdout
    line = recorded(world, after, VAULTD_UID="1003", VAULTD_CONTAINER="yes", VAULTD_VERDICT="admitted")[0]
    assert line["VAULTD_CGROUP"]
    after = mark(world)
    world.json("carol", "disconnect", "notion", "--yes", code=None)
    assert recorded(world, after, VAULTD_UID="1003", VAULTD_CONTAINER="no")


@pytest.mark.parametrize("elevated", ["allow", "record"])
def test_t6_policy_refuses_containers(elevated):
    with World(settings=f"[Identity]\nContainers=refuse\nElevated={elevated}\n") as world:
        directory = world.root / "box"
        directory.mkdir(mode=0o755)
        done = contained(world, world.command("--json", "whoami"), directory)
        assert (done.returncode, json.loads(done.stdout)["error"]) == (4, "io.vaultd.NotAllowed"), (done.stdout, done.stderr)
        done = subprocess.run(["unshare", "--user", "--map-root-user", *world.command("--json", "status")], capture_output=True, text=True,
                              env=world.environment(), **as_user("alice"))
        assert json.loads(done.stdout)["error"] == "io.vaultd.NotAllowed"
        assert world.json("alice", "whoami")["user"] == "alice"


def test_t6_a_reused_pid_lends_a_container_nothing():
    """The same out of a container: its pid becomes a process of the host's."""
    with World(settings="[Identity]\nContainers=refuse\nElevated=allow\n") as world:
        answer = answer_after_reuse(world, lambda argv: subprocess.run(["unshare", "--user", *argv], capture_output=True, text=True, timeout=60,
                                                                       **as_user("alice")).stdout)
    assert answer["error"] == "io.vaultd.NotAllowed" and "containers" in answer["parameters"]["message"], answer


@pytest.mark.parametrize("rule, use, authority", [("refuse", False, False), ("record", True, True), ("allow", True, True)])
def test_t1_elevated_is_a_policy(rule, use, authority):
    with World(settings=f"[Identity]\nElevated={rule}\n") as world, Login(world, "bob") as bob:
        after = mark(world)
        assert (bob.vaultctl("status", user="alice")[0] == 0) == use
        assert (bob.vaultctl("disconnect", "notion", "--yes", user="alice")[1]["error"] != "io.vaultd.NotAllowed") == authority
        assert bob.vaultctl("status")[0] == 0
        if rule == "record":
            assert recorded(world, after, VAULTD_UID="1001", VAULTD_LOGIN_UID="1002", VAULTD_SERVICE="Status")


# T12: every way to say who one is. Bob says he is alice; he stays bob.

SAYINGS = ["uid", "user", "userName", "onBehalfOf", "asUser", "owner", "sudo", "principal"]


@pytest.mark.parametrize("name", SAYINGS)
@pytest.mark.parametrize("value", ["alice", 1001])
@pytest.mark.parametrize("method", ["io.vaultd.WhoAmI", "io.vaultd.Status", "io.vaultd.Connect.Start", "io.vaultd.Session.List"])
def test_t12_a_parameter_names_nobody(world, method, name, value):
    reply = world.caller("bob").reply(method, {name: value, **({"service": "notion"} if method.endswith("Start") else {})})
    if "error" in reply:
        assert reply == {"error": "org.varlink.service.InvalidParameter", "parameters": {"parameter": name}}
    else:
        assert "alice" not in json.dumps(reply) and reply["parameters"].get("uid", 1002) == 1002


@pytest.mark.parametrize("member", ["org.vaultd.user", "io.vaultd.uid", "x.onBehalfOf", "com.example.principal"])
def test_t12_an_extension_member_names_nobody(world, member):
    call = {"method": "io.vaultd.WhoAmI", "parameters": {}, member: "alice"}
    raw = world.caller("bob").raw(json.dumps(call).encode() + b"\0").rstrip(b"\0")
    assert raw == b"" or json.loads(raw)["parameters"]["user"] == "bob"


@pytest.mark.parametrize("variables", [{"USER": "alice", "LOGNAME": "alice", "HOME": "/home/alice"}, {"SUDO_USER": "alice", "SUDO_UID": "1001"},
                                       {"VAULTD_USER": "alice", "VAULTD_UID": "1001"}, {"XDG_RUNTIME_DIR": "/run/user/1001", "XDG_SESSION_ID": "1"}])
def test_t12_the_environment_names_nobody(world, variables):
    done = subprocess.run(world.command("--json", "whoami"), capture_output=True, text=True, env={**world.environment(), **variables}, **as_user("bob"))
    assert json.loads(done.stdout)["user"] == "bob"


def test_t12_another_logins_label_names_nobody(world, bob):
    with Login(world, "alice") as alice:
        code, answer = bob.vaultctl("whoami", environment={**world.environment(), "VAULTD_SESSION": alice.session})
    assert (answer["user"], answer["session"]) == ("bob", bob.session)


@pytest.mark.parametrize("path", [".config/vaultd/config", ".vaultd", ".config/vaultctl.json", ".netrc"])
def test_t12_a_file_names_nobody(world, path):
    home = world.root / "home-bob"
    file = home / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('{"user": "alice", "uid": 1001}\n')
    try:
        done = subprocess.run(world.command("--json", "whoami"), capture_output=True, text=True, cwd=home,
                              env={**world.environment(), "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}, **as_user("bob"))
        assert json.loads(done.stdout)["user"] == "bob"
    finally:
        shutil.rmtree(home)


def test_t12_a_program_named_after_another_user_is_nobody_else(world):
    program = world.root / "bin/alice"
    shutil.copy(world.root / "bin/vaultctl", program)
    done = subprocess.run(["alice", "--json", "whoami"], executable=program, capture_output=True, text=True, env=world.environment(), **as_user("bob"))
    assert json.loads(done.stdout)["user"] == "bob"


@contextlib.contextmanager
def hidden_processes():
    """A /proc of the tests' own, in which only root sees other users' processes (proc(5), hidepid=)."""
    subprocess.run(["mount", "-t", "proc", "-o", "hidepid=invisible", "proc", "/proc"], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "/proc"], check=True)


def test_t13_a_caller_whose_process_is_hidden_has_no_authority(world):
    """Who logged in cannot be read; that is not the same as nobody."""
    with hidden_processes():
        answer = world.json("alice", "disconnect", "notion", "--yes", code=None)
        assert answer["error"] == "io.vaultd.NotAllowed" and "hidden" in answer["message"], answer
        answer = world.json("alice", "whoami")
        assert (answer["user"], answer["origin"], answer.get("loginUid")) == ("alice", "unknown", None)
    assert world.json("alice", "disconnect", "notion", "--yes", code=None)["error"] != "io.vaultd.NotAllowed"


def test_t6_a_hidden_caller_is_refused_where_containers_are():
    with World(settings="[Identity]\nContainers=refuse\nElevated=allow\n") as world:
        with hidden_processes():
            assert world.json("alice", "whoami", code=4)["error"] == "io.vaultd.NotAllowed"
        assert world.json("alice", "whoami")["user"] == "alice"


def test_t13_who_has_no_account_gets_no_vault(world):
    """A look-up that finds nobody is not replaced by anything: no default, no shared vault."""
    for method, parameters in (("io.vaultd.WhoAmI", {}), ("io.vaultd.Status", {}), ("io.vaultd.Services", {}), ("io.vaultd.Session.List", {}),
                               ("io.vaultd.Connect.Start", {"service": "notion"}), ("io.vaultd.Connect.Disconnect", {"service": "notion"}),
                               ("io.vaultd.Token.Read", {"service": "notion"})):
        reply = world.caller("nobody-here").reply(method, parameters)
        assert reply["error"] == "io.vaultd.NotAllowed", (method, reply)
        assert "54321" in reply["parameters"]["message"]
