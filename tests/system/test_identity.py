# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who is behind a caller, with the real sudo, su, cron, login, sshd and systemd of a machine (I5, I6, I7, T1), and uids
that change hands with the real usermod, userdel and useradd (I8, T7)."""

import contextlib
import json
import time

import pytest
from scene import Scene

PASSWORD = "correct-horse"
MODULE_LINE = "session optional pam_vaultd.so\n"


@pytest.fixture(scope="module")
def host(stage):
    """alice; bob, who may do everything by sudo; boxer, for containers; cron and user managers register their logins, as pam_vaultd(8) says."""
    with Scene(stage) as scene:
        scene.install()
        for user in ("alice", "bob", "boxer"):
            scene.add_person(user, f"{user}@notion.test")
        scene.run(["chpasswd"], stdin=f"alice:{PASSWORD}\n")
        scene.write("/etc/sudoers.d/bob", "bob ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440)
        # systemd-user is the vendor's, in /usr/lib/pam.d; a file of the same name in /etc/pam.d replaces it as a whole.
        scene.run(["cp", "/usr/lib/pam.d/systemd-user", "/etc/pam.d/systemd-user"])
        for service in ("cron", "systemd-user"):
            with scene.path(f"/etc/pam.d/{service}").open("a") as file:
                file.write(MODULE_LINE)
        yield scene


def uid_of(host, user):
    return int(host.run(["id", "-u", user]).stdout)


def said(result):
    """The JSON that vaultctl printed among what else a login prints."""
    lines = [line[line.index("{"):] for line in result.stdout.splitlines() if '{"' in line]
    assert lines, (result.stdout, result.stderr)
    return json.loads(lines[-1])


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def sessions(host):
    folder = host.path("/run/vaultd/sessions")
    return {path.name: json.loads(path.read_text()) for path in folder.iterdir() if not path.name.startswith(".")} if folder.exists() else {}


def recorded(host, **fields):
    """Lines of the journal that have these fields, oldest first."""
    host.run(["journalctl", "--sync"])
    lines = host.run(["journalctl", "--output=json", *(f"{name}={value}" for name, value in fields.items())]).stdout.splitlines()
    return [json.loads(line) for line in lines]


@contextlib.contextmanager
def lasting_login(host, user):
    """An SSH login that stays: its entry in the folder of logins."""
    before = set(sessions(host))
    host.start("stay-" + user, ["sh", "-c", "echo '{}'; exec \"$@\"", "sh", *host.ssh_command(user, "sleep 600")])
    try:
        yield wait_for(lambda: next((each for name, each in sessions(host).items() if name not in before and each["user"] == user), None),
                       10, "no login was registered")
    finally:
        host.run(["systemctl", "stop", "stay-" + user], check=False)


def test_t1_sudo_is_named_and_has_no_authority(host):
    alice, bob = uid_of(host, "alice"), uid_of(host, "bob")
    answer = said(host.as_user("bob", "sudo -u alice vaultctl --json whoami"))
    assert (answer["user"], answer["origin"], answer.get("originUser"), answer.get("loginUid")) == ("alice", "elevated", "bob", bob)
    shown = host.as_user("bob", "sudo -u alice vaultctl whoami").stdout
    assert "from the login of bob" in shown
    result = host.as_user("bob", "sudo -u alice vaultctl --json disconnect notion --yes", check=False)
    assert (result.returncode, said(result)["error"]) == (4, "io.vaultd.NotAllowed")
    assert said(host.as_user("alice", "vaultctl --json disconnect notion --yes", check=False))["error"] != "io.vaultd.NotAllowed"
    lines = recorded(host, VAULTD_UID=alice, VAULTD_LOGIN_UID=bob)
    assert {("WhoAmI", "admitted"), ("Disconnect", "refused")} <= {(line["VAULTD_SERVICE"], line["VAULTD_VERDICT"]) for line in lines}
    assert "/" in lines[-1]["VAULTD_CGROUP"]


def test_t1_sudo_outlives_the_login_and_stays_refused(host):
    host.as_user("bob", "sudo -u alice setsid sh -c 'sleep 2; vaultctl --json disconnect notion --yes > /tmp/outlived 2>&1; echo >> /tmp/outlived' "
                 "< /dev/null > /dev/null 2>&1 &")
    text = wait_for(lambda: host.path("/tmp/outlived").exists() and host.path("/tmp/outlived").read_text().endswith("\n") and
                    host.path("/tmp/outlived").read_text(), 20, "it did not run")
    assert json.loads(text.splitlines()[0])["error"] == "io.vaultd.NotAllowed"


def test_su_registers_inside_a_users_own_process(host):
    """Real uid bob, effective uid root: the module says which it speaks as, and vaultd sees both sides of it (T2)."""
    result = host.as_user("bob", "su alice -c 'grep ^Uid /proc/$PPID/status; vaultctl --json whoami; vaultctl --json status'", stdin=PASSWORD + "\n")
    assert [line.split()[1:3] for line in result.stdout.splitlines() if line.startswith("Uid:")] == [[str(uid_of(host, "bob")), "0"]]
    answers = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert (answers[0]["user"], answers[0]["origin"], answers[0].get("originUser")) == ("alice", "elevated", "bob")
    assert answers[0]["session"] in {login["id"] for login in answers[1]["logins"] if login["service"] == "su"}


# What runs without a login is nobody's word, and says so.

def test_su_of_root_outside_a_login_is_unproven(host):
    answer = said(host.run(["su", "-l", "alice", "-c", "vaultctl --json whoami"]))
    assert (answer["user"], answer["origin"], answer.get("originUser")) == ("alice", "unproven", None)


def test_a_service_that_root_runs_as_a_user_is_unproven(host):
    """systemd-run --uid=: it has alice's vault and no login; whoami tells that, and tells nobody's name."""
    run = ["systemd-run", "--quiet", "--pipe", "--wait", "--uid=alice", "vaultctl"]
    answer = said(host.run([*run, "--json", "whoami"]))
    assert (answer["user"], answer["origin"], answer["session"]) == ("alice", "unproven", None)
    assert "loginUid" not in answer and "originUser" not in answer
    shown = host.run([*run, "whoami"]).stdout
    assert "unproven" in shown and "from the login of" not in shown
    result = host.run([*run, "--json", "disconnect", "notion", "--yes"], check=False)
    assert said(result)["error"] != "io.vaultd.NotAllowed"
    record = recorded(host, VAULTD_UID=uid_of(host, "alice"), VAULTD_SERVICE="Disconnect", VAULTD_ORIGIN="unproven")[-1]
    assert record["VAULTD_VERDICT"] == "admitted" and record["VAULTD_CGROUP"].startswith("/system.slice/run-")


def test_a_host_that_hides_processes_hides_none_from_vaultd(host):
    """hidepid= of the host's /proc: vaultd has a view of its own, by its unit."""
    host.run(["mount", "-o", "remount,hidepid=2", "/proc"])
    try:
        host.run(["systemctl", "restart", "vaultd.service"])
        assert host.as_user("alice", "test -e /proc/1", check=False).returncode != 0
        answer = host.vaultctl("alice", "whoami")
        assert answer["origin"] == "login" and answer["session"]
        assert said(host.as_user("bob", "sudo -u alice vaultctl --json whoami"))["origin"] == "elevated"
    finally:
        host.run(["mount", "-o", "remount,hidepid=0", "/proc"])
        host.run(["systemctl", "restart", "vaultd.service"])


# Every way to log in, with logind and without.

@pytest.fixture(scope="module", params=["with logind", "without logind"])
def ways(request, host):
    """The machine, with logind running or masked; whether it runs."""
    has_logind = request.param == "with logind"
    if has_logind:
        yield host, True
        return
    host.run(["systemctl", "mask", "--now", "--runtime", "systemd-logind.service"])
    yield host, False
    host.run(["systemctl", "unmask", "--runtime", "systemd-logind.service"])
    host.run(["systemctl", "start", "systemd-logind.service"])


def login_of(result, service):
    """What whoami and status said, once the login is found to be one of that service."""
    answers = [json.loads(line[line.index("{"):]) for line in result.splitlines() if '{"' in line]
    assert len(answers) == 2, result
    mine = [login for login in answers[1]["logins"] if login["id"] == answers[0]["session"]]
    assert [login["service"] for login in mine] == [service], answers
    return answers[0], mine[0]


BOTH = "vaultctl --json whoami; vaultctl --json status"


def test_ssh_login_says_where_from(ways):
    answer, login = login_of(ways[0].as_user("alice", BOTH).stdout, "sshd")
    assert (answer["origin"], login["rhost"]) == ("login", "127.0.0.1")


def test_console_login(ways):
    result = ways[0].run(["script", "--quiet", "--return", "--command", "login -f alice", "/dev/null"], stdin=BOTH + "; exit\n")
    answer, login = login_of("\n".join(line for line in result.stdout.splitlines() if line.startswith('{"')), "login")
    assert answer["origin"] == "login" and "pts" in login["tty"]


@pytest.mark.parametrize("command, service", [("su alice -c", "su"), ("su -l alice -c", "su-l"), ("sudo -i -u alice sh -c", "sudo-i")])
def test_change_of_user_is_a_login_that_bob_made(ways, command, service):
    result = ways[0].as_user("bob", f"{command} '{BOTH}'", stdin=PASSWORD + "\n")
    answer, _ = login_of(result.stdout, service)
    assert (answer["user"], answer["origin"], answer["originUser"]) == ("alice", "elevated", "bob")


def test_cron_login(ways):
    """A job for the start of cron, so that nobody waits for the minute."""
    host = ways[0]
    output = host.path("/home/alice/cron.out")
    output.unlink(missing_ok=True)
    host.run(["crontab", "-u", "alice", "-"], stdin=f"@reboot ({BOTH}; echo end) > /home/alice/cron.out 2>&1\n")
    try:
        host.run(["systemctl", "stop", "cron"])
        host.path("/run/crond.reboot").unlink(missing_ok=True)
        host.run(["systemctl", "start", "cron"])
        text = wait_for(lambda: output.exists() and output.read_text().endswith("end\n") and output.read_text(), 20, "cron did not run it")
    finally:
        host.run(["crontab", "-u", "alice", "-r"])
    assert login_of(text, "cron")[0]["origin"] == "login"


def test_user_manager_login(ways):
    """logind starts it with the first login; without logind root does."""
    host, has_logind = ways
    uid = uid_of(host, "alice")
    if not has_logind:
        host.run(["install", "-d", "-o", "alice", "-g", "alice", "-m", "0700", f"/run/user/{uid}"])
        host.run(["systemctl", "start", f"user@{uid}.service"])
    try:
        result = host.as_user("alice", f"export XDG_RUNTIME_DIR=/run/user/{uid}; for verb in whoami status; do "
                              "systemd-run --user --quiet --pipe --wait vaultctl --json $verb; done")
    finally:
        if not has_logind:
            host.run(["systemctl", "stop", f"user@{uid}.service"])
    assert login_of(result.stdout, "systemd-user")[0]["origin"] == "login"


def test_i7_a_killed_sshd_ends_the_login(host):
    with lasting_login(host, "alice") as login:
        host.run(["systemctl", "restart", "vaultd.service"])        # the descriptor is opened anew
        host.vaultctl("bob", "whoami")
        assert login["id"] in sessions(host)
        host.run(["kill", "-KILL", str(login["leader"])])
        wait_for(lambda: login["id"] not in sessions(host), 5, "the login goes on without its leader")


def test_login_survives_a_restart_of_vaultd(host):
    result = host.as_user("bob", "vaultctl --json whoami; sudo systemctl restart vaultd.service; vaultctl --json whoami")
    before, after = (json.loads(line) for line in result.stdout.splitlines())
    assert before == after and before["origin"] == "login"


def test_what_stays_after_a_logout_has_no_login_and_is_its_owners(host):
    """A login uid stays for good, so it is nobody else's; what it came from has ended, so nobody vouches for it."""
    host.as_user("alice", "setsid sh -c 'sleep 1; vaultctl --json whoami; vaultctl --json disconnect notion --yes; echo end' > /tmp/stayed 2>&1 < /dev/null &")
    text = wait_for(lambda: host.path("/tmp/stayed").read_text().endswith("end\n") and host.path("/tmp/stayed").read_text(), 20, "it did not run")
    answer, other = (json.loads(line) for line in text.splitlines()[:2])
    assert (answer["user"], answer["origin"], answer["session"], answer["loginUid"]) == ("alice", "unproven", None, uid_of(host, "alice"))
    assert other["error"] != "io.vaultd.NotAllowed"


def quiet(host, user):
    """usermod and userdel want no process of the user's."""
    uid = uid_of(host, user)
    host.run(["loginctl", "terminate-user", user], check=False)
    wait_for(lambda: host.run(["pgrep", "-U", str(uid)], check=False).returncode == 1, 20, f"processes of {user} stay")


def test_t7_usermod_l_seals_and_unseal_rename_opens(host):
    host.add_person("carol", "carol@notion.test")
    before = host.vaultctl("carol", "whoami")["vault"]["id"]
    quiet(host, "carol")
    host.run(["usermod", "-l", "caroline", "carol"])
    result = host.as_user("caroline", "vaultctl --json whoami", check=False)
    assert (result.returncode, said(result)["error"]) == (4, "io.vaultd.VaultClosed")
    listed = json.loads(host.run(["vaultctl", "--json", "admin", "users"]).stdout)["vaults"]
    assert [(each["user"], each["state"], each["present"]) for each in listed if each["id"] == before] == [("carol", "sealed", "caroline")]
    assert "sealed" in host.run(["vaultctl", "admin", "users"]).stdout
    assert host.run(["vaultctl", "admin", "unseal", "--user", "caroline"], check=False).returncode == 4
    host.run(["vaultctl", "admin", "unseal", "--user", "caroline", "--rename"])
    assert host.vaultctl("caroline", "whoami")["vault"] == {"id": before, "state": "active"}


def test_t7_a_recycled_uid_finds_nothing(host):
    host.add_person("dora", "dora@notion.test")
    before, uid = host.vaultctl("dora", "whoami")["vault"]["id"], uid_of(host, "dora")
    quiet(host, "dora")
    host.run(["userdel", "--remove", "dora"])
    host.run(["useradd", "--uid", str(uid), "--create-home", "eve"])
    command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "vaultctl", "--json", "whoami"]
    result = host.run(command, check=False)
    assert (result.returncode, said(result)["error"]) == (4, "io.vaultd.VaultClosed")
    assert "dora" not in result.stdout
    host.run(["systemctl", "restart", "vaultd.service"])
    assert said(host.run(command, check=False))["error"] == "io.vaultd.VaultClosed"
    host.run(["vaultctl", "admin", "unseal", "--uid", str(uid), "--new"])
    answer = said(host.run(command))
    assert answer["user"] == "eve" and answer["vault"]["state"] == "active" and answer["vault"]["id"] != before


def test_t7_a_vault_does_not_follow_a_name_to_another_uid(host):
    host.add_person("frank", "frank@notion.test")
    before, uid = host.vaultctl("frank", "whoami")["vault"]["id"], uid_of(host, "frank")
    quiet(host, "frank")
    host.run(["usermod", "--uid", "4711", "frank"])
    answer = host.vaultctl("frank", "whoami")
    assert (answer["uid"], answer["vault"]["state"]) == (4711, "active") and answer["vault"]["id"] != before
    result = host.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "vaultctl", "--json", "whoami"], check=False)
    assert (result.returncode, said(result)["error"]) == (4, "io.vaultd.NotAllowed")        # nobody's now
    assert host.vaultctl("frank", "whoami")["vault"]["state"] == "active"


def test_admin_is_for_root(host):
    for command in ("vaultctl --json admin users", "vaultctl --json admin unlock --user alice"):
        assert said(host.as_user("alice", command, check=False))["error"] == "io.vaultd.client.RootOnly"
    host.as_user("bob", "sudo vaultctl admin lock --user alice --reason 'for a test'")
    try:
        assert said(host.as_user("alice", "vaultctl --json whoami", check=False))["state"] == "locked"
        lines = recorded(host, VAULTD_REASON="for a test")
        assert {line["VAULTD_LOGIN_UID"] for line in lines} == {str(uid_of(host, "bob"))}
    finally:
        host.as_user("bob", "sudo vaultctl admin unlock --user alice")
    assert host.vaultctl("alice", "whoami")["vault"]["state"] == "active"


# Containers (T6)

CONTAINERS = {
    "an image as root folder": (["-p", "RootDirectory=/srv/box", "-p", "BindReadOnlyPaths=/usr /etc /run/vaultd"], True),
    "uids of its own": (["-p", "PrivateUsers=yes"], True),
    "mounts of its own": (["-p", "PrivateTmp=yes", "-p", "ProtectSystem=strict", "-p", "BindPaths=/run/vaultd/io.vaultd:/run/other"], False),
    "nothing of its own": ([], False),
}


@pytest.fixture(scope="module")
def box(host):
    host.run(["sh", "-ec", "cd /srv; mkdir -p box/usr box/etc box/proc box/dev box/tmp box/run/vaultd; cd box; for each in bin lib lib64 sbin; do "
              "ln -sf usr/$each $each; done"])
    yield host
    host.path("/etc/vaultd/vaultd.conf").unlink(missing_ok=True)
    host.run(["systemctl", "restart", "vaultd.service"])


def from_container(host, kind, command):
    """A process with boxer's own login, as a container engine of the host's that shares pids and uids would start it."""
    properties, _ = CONTAINERS[kind]
    argv = ["systemd-run", "--quiet", "--pipe", "--wait", "--uid=boxer", "-p", "PAMName=login", *properties, "vaultctl", "--json", *command.split()]
    return host.run(argv, check=False)


def test_t6_a_container_is_recorded(box):
    for kind, (_, is_contained) in CONTAINERS.items():
        before = len(recorded(box, VAULTD_SERVICE="Disconnect"))
        assert said(from_container(box, kind, "disconnect notion --yes"))["error"] != "io.vaultd.NotAllowed"
        line = recorded(box, VAULTD_SERVICE="Disconnect")[before]
        assert (kind, line["VAULTD_CONTAINER"]) == (kind, "yes" if is_contained else "no")
        assert line["VAULTD_CGROUP"]


def test_t6_policy_refuses_containers_and_not_services(box):
    box.write("/etc/vaultd/vaultd.conf", "[Identity]\nContainers=refuse\nElevated=allow\n")
    box.run(["systemctl", "restart", "vaultd.service"])
    for kind, (_, is_contained) in CONTAINERS.items():
        answer = said(from_container(box, kind, "whoami"))
        assert (kind, answer.get("error", answer.get("user"))) == (kind, "io.vaultd.NotAllowed" if is_contained else "boxer")
    assert box.vaultctl("boxer", "whoami")["origin"] == "login"
