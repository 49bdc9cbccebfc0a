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
    """alice; bob, who may do everything by sudo; cron and user managers register their logins, as pam_vaultd(8) says."""
    with Scene(stage) as scene:
        scene.install()
        for user in ("alice", "bob"):
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
    lines = host.run(["journalctl", "--sync"]) and host.run(["journalctl", "--output=json", f"VAULTD_UID={alice}", f"VAULTD_LOGIN_UID={bob}"]).stdout
    verdicts = {(json.loads(line)["VAULTD_SERVICE"], json.loads(line)["VAULTD_VERDICT"]) for line in lines.splitlines()}
    assert {("WhoAmI", "admitted"), ("Disconnect", "refused")} <= verdicts
    assert "/" in json.loads(lines.splitlines()[-1])["VAULTD_CGROUP"]


def test_t1_sudo_i_is_a_login_that_bob_made(host):
    answer = said(host.as_user("bob", "sudo -i -u alice vaultctl --json whoami"))
    assert (answer["user"], answer["origin"], answer.get("originUser")) == ("alice", "elevated", "bob") and answer["session"]


def test_t1_su_with_the_right_password_is_still_bobs_login(host):
    result = host.as_user("bob", "su -l alice -c 'vaultctl --json whoami; vaultctl --json status'", stdin=PASSWORD + "\n")
    answers = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert (answers[0]["user"], answers[0]["origin"], answers[0].get("originUser")) == ("alice", "elevated", "bob")
    assert answers[0]["session"] in {login["id"] for login in answers[1]["logins"] if login["service"] == "su-l"}


def test_t1_sudo_outlives_the_login_and_stays_refused(host):
    host.as_user("bob", "sudo -u alice setsid sh -c 'sleep 2; vaultctl --json disconnect notion --yes > /tmp/outlived 2>&1; echo >> /tmp/outlived' "
                 "< /dev/null > /dev/null 2>&1 &")
    text = wait_for(lambda: host.path("/tmp/outlived").exists() and host.path("/tmp/outlived").read_text().endswith("\n") and
                    host.path("/tmp/outlived").read_text(), 20, "it did not run")
    assert json.loads(text.splitlines()[0])["error"] == "io.vaultd.NotAllowed"


def test_su_of_root_outside_a_login_is_unproven(host):
    answer = said(host.run(["su", "-l", "alice", "-c", "vaultctl --json whoami"]))
    assert (answer["user"], answer["origin"], answer.get("originUser")) == ("alice", "unproven", None)


def test_console_login(host):
    result = host.run(["script", "--quiet", "--return", "--command", "login -f alice", "/dev/null"],
                      stdin="vaultctl --json whoami; vaultctl --json status; exit\n")
    answers = [json.loads(line) for line in result.stdout.splitlines() if line.startswith('{"')]
    assert answers[0]["origin"] == "login", result.stdout
    mine = next(login for login in answers[1]["logins"] if login["id"] == answers[0]["session"])
    assert mine["service"] == "login" and "pts" in mine["tty"]


def test_ssh_login_says_where_from(host):
    answer = said(host.as_user("alice", "vaultctl --json status"))
    assert ("sshd", "127.0.0.1") in {(login["service"], login.get("rhost")) for login in answer["logins"]}


def test_user_manager_login(host):
    result = host.as_user("alice", "for verb in whoami status; do systemd-run --user --quiet --pipe --wait vaultctl --json $verb; done")
    answer, status = (json.loads(line) for line in result.stdout.splitlines() if line.startswith("{"))
    assert (answer["user"], answer["origin"]) == ("alice", "login"), answer
    assert {login["service"] for login in status["logins"] if login["id"] == answer["session"]} == {"systemd-user"}


def test_cron_login(host):
    host.run(["crontab", "-u", "alice", "-"], stdin="* * * * * (vaultctl --json whoami; vaultctl --json status) > /home/alice/cron.out 2>&1; echo end >> /home/alice/cron.out\n")
    try:
        file = host.path("/home/alice/cron.out")
        text = wait_for(lambda: file.exists() and "end" in file.read_text() and file.read_text(), 75, "cron did not run it")
    finally:
        host.run(["crontab", "-u", "alice", "-r"])
    answers = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert answers[0]["origin"] == "login"
    assert "cron" in {login["service"] for login in answers[1]["logins"]}


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


def test_logins_without_logind(host):
    host.run(["systemctl", "mask", "--now", "--runtime", "systemd-logind.service"])
    try:
        answer = said(host.as_user("alice", "vaultctl --json whoami"))
        assert answer["origin"] == "login" and answer["session"]
    finally:
        host.run(["systemctl", "unmask", "--runtime", "systemd-logind.service"])
        host.run(["systemctl", "start", "systemd-logind.service"])


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


def test_admin_is_for_root(host):
    for command in ("vaultctl --json admin users", "vaultctl --json admin unlock --user alice"):
        assert said(host.as_user("alice", command, check=False))["error"] == "io.vaultd.client.Unreachable"
    host.as_user("bob", "sudo vaultctl admin lock --user alice --reason 'for a test'")
    try:
        assert said(host.as_user("alice", "vaultctl --json whoami", check=False))["state"] == "locked"
        lines = host.run(["journalctl", "--output=json", "VAULTD_REASON=for a test"]).stdout.splitlines()
        assert {json.loads(line)["VAULTD_LOGIN_UID"] for line in lines} == {str(uid_of(host, "bob"))}
    finally:
        host.as_user("bob", "sudo vaultctl admin unlock --user alice")
    assert host.vaultctl("alice", "whoami")["vault"]["state"] == "active"
