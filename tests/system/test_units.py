# SPDX-License-Identifier: LGPL-2.1-or-later
"""The units, as a real systemd runs them: activation, confinement, what survives a crash (design: section 1)."""

import json
import re
import time

SERVICES = ("vaultd.service", "vaultd-web.service")
DOORS = ("vaultd.socket", "vaultd-control.socket", "vaultd-webapi.socket")


def show(host, unit, name):
    return host.run(["systemctl", "show", "--value", "--property", name, unit]).stdout.strip()


def test_first_call_starts_the_daemon(host):
    host.run(["systemctl", "stop", "vaultd.service"])
    assert show(host, "vaultd.service", "ActiveState") == "inactive"
    assert host.vaultctl("alice", "whoami")["user"] == "alice"
    assert show(host, "vaultd.service", "ActiveState") == "active"


def test_units_verify_without_a_word(host):
    result = host.run(["systemd-analyze", "verify", "--man=no", *SERVICES, *DOORS, "vaultd-web.socket"])
    assert result.stdout + result.stderr == ""


def test_exposure_stays_at_or_below_1_5(host):
    for service in SERVICES:
        host.run(["systemd-analyze", "security", "--no-pager", "--threshold=15", service])


def test_every_open_item_is_explained_in_its_unit(host):
    """What systemd-analyze counts against a unit has its reason beside it: "Left open: NAME=", as long as it is open."""
    for service in SERVICES:
        items = json.loads(host.run(["systemd-analyze", "security", "--no-pager", "--json=short", service]).stdout)
        is_open = {re.match(r"\w+=", each["name"]).group() for each in items if float(each.get("exposure") or 0) > 0}
        text = " ".join(host.run(["systemctl", "cat", service]).stdout.replace("\n# ", " ").split())
        explained = set(re.findall(r"\w+=", " ".join(re.findall(r"Left open: (.*?)\.", text))))
        assert (service, is_open - explained, explained - is_open) == (service, set(), set())


def test_doors_have_their_owner_and_mode(host):
    names = host.run(["stat", "--format", "%n %U %a", "/run/vaultd", "/run/vaultd/io.vaultd",
                      "/run/vaultd/io.vaultd.control", "/run/vaultd/io.vaultd.web"]).stdout.splitlines()
    assert names == ["/run/vaultd root 755", "/run/vaultd/io.vaultd root 666",
                     "/run/vaultd/io.vaultd.control root 600", "/run/vaultd/io.vaultd.web vaultd-web 600"]


def test_state_is_the_daemons_alone(host):
    host.vaultctl("alice", "whoami")
    assert host.run(["stat", "--format", "%U %a", "/var/lib/vaultd"]).stdout.strip() == "vaultd 700"
    assert host.run(["stat", "--format", "%U %a", "/run/vaultd/sessions"]).stdout.strip() == "vaultd 700"
    assert host.as_user("alice", "ls /var/lib/vaultd", check=False).returncode != 0


def test_public_socket_is_the_handle_of_all_doors(host):
    host.run(["systemctl", "stop", "vaultd.socket", "vaultd.service"])
    assert [show(host, door, "ActiveState") for door in DOORS] == ["inactive"] * 3
    host.run(["systemctl", "start", "vaultd.socket"])
    assert [show(host, door, "ActiveState") for door in DOORS] == ["active"] * 3


def test_running_daemons_have_no_privilege(host):
    host.vaultctl("alice", "whoami")
    host.run(["systemctl", "start", *SERVICES])
    for service in SERVICES:
        status = host.path(f"/proc/{show(host, service, 'MainPID')}/status").read_text()
        for field, value in (("CapEff", "0" * 16), ("CapPrm", "0" * 16), ("CapBnd", "0" * 16), ("NoNewPrivs", "1"),
                             ("Seccomp", "2")):
            assert re.search(rf"^{field}:\s*{value}$", status, re.MULTILINE), (service, field)
        assert not re.search(r"^Uid:.*\b0\b", status, re.MULTILINE), service


def test_web_port_stays_held_while_its_service_is_down(host):
    host.run(["systemctl", "stop", "vaultd-web.service"])
    bind = "import socket; socket.create_server(('127.0.0.1', 876))"
    result = host.run(["/usr/bin/python3", "-c", bind], check=False)
    assert result.returncode != 0 and "Address already in use" in result.stderr


def test_browser_starts_the_web_service(host):
    host.run(["systemctl", "stop", "vaultd-web.service"])
    result = host.run(["curl", "--silent", "--output", "/dev/null", "--max-time", "10", "--write-out", "%{http_code}",
                       "http://127.0.0.1:876/no-such-page"])
    assert result.stdout == "404"
    assert show(host, "vaultd-web.service", "ActiveState") == "active"


def test_crashes_do_not_end_the_service(host):
    for _ in range(8):
        host.vaultctl("alice", "whoami")
        host.run(["systemctl", "kill", "--kill-whom=main", "--signal=SEGV", "vaultd.service"])
    before = time.monotonic()
    assert host.vaultctl("alice", "whoami")["user"] == "alice"
    assert time.monotonic() - before < 5
    assert int(show(host, "vaultd.service", "NRestarts")) >= 8
    assert [show(host, door, "ActiveState") for door in DOORS] == ["active"] * 3


def test_daemon_refuses_to_start_without_its_key(host):
    host.run(["systemctl", "stop", "vaultd.service"])
    host.run(["mv", "/etc/credstore.encrypted/vaultd.kek", "/root/kek"])
    try:
        assert host.run(["systemctl", "start", "vaultd.service"], check=False).returncode != 0
    finally:
        host.run(["mv", "/root/kek", "/etc/credstore.encrypted/vaultd.kek"])
        host.run(["systemctl", "restart", "vaultd.service"])
    assert host.vaultctl("alice", "whoami")["vault"]["state"] == "active"
