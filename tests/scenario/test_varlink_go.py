# SPDX-License-Identifier: LGPL-2.1-or-later
"""A second, independent client speaks to vaultd: the Varlink project's Go library (golang-github-varlink-go-dev).

Debian's package varlink-go has the project's reader of interface files (varlink-go-interface-generator) but not its
`varlink` command, so varlink-go/main.go puts the library's calls behind a command line. What the library sends and what it
makes of our answers is its own doing.
"""

import json
import os
import pathlib
import subprocess

import pytest
from world import UIDS, as_user

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def client(world):
    """Runs the client as some user; returns its answer."""
    program = world.root / "bin/varlink-client"
    subprocess.run(["go", "build", "-o", program, HERE / "varlink-go/main.go"], check=True, timeout=300,
                   env={"PATH": os.environ["PATH"], "HOME": str(world.root), "GOCACHE": str(world.root / "go-cache"), "GOPATH": "/usr/share/gocode",
                        "GO111MODULE": "off", "CGO_ENABLED": "0"})

    def run(user, *arguments):
        done = subprocess.run([program, f"unix:{world.sockets['public']}", *arguments], capture_output=True, text=True, timeout=30, **as_user(user))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return run


def test_lists_the_interfaces(client):
    info = client("alice", "info")
    assert info["vendor"] == "vaultd"
    assert {"org.varlink.service", "io.vaultd", "io.vaultd.Connect", "io.vaultd.Session"} <= set(info["interfaces"])
    assert not {"io.vaultd.Login", "io.vaultd.Web"} & set(info["interfaces"])


def test_every_description_is_read_by_the_projects_own_reader(client, tmp_path):
    for interface in client("alice", "info")["interfaces"]:
        text = client("alice", "describe", interface)["text"]
        assert f"interface {interface}\n" in text
        # This version of the reader knows lower case alone in interface names; UAPI.20 has both.
        file = tmp_path / f"{interface}.varlink"
        file.write_text(text.replace(f"interface {interface}\n", f"interface {interface.lower()}\n"))
        done = subprocess.run(["varlink-go-interface-generator", file], cwd=tmp_path, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, (interface, done.stdout, done.stderr)
    assert len(list(tmp_path.glob("*.go"))) == len(list(tmp_path.glob("*.varlink"))) > 3


def test_calls_as_the_user_who_runs_it(client):
    for user in ("alice", "bob"):
        assert client(user, "call", "io.vaultd.WhoAmI", "{}")["parameters"]["uid"] == UIDS[user]


def test_errors_come_with_their_names(client):
    assert client("alice", "call", "io.vaultd.Nothing", "{}")["error"] == "org.varlink.service.MethodNotFound"
    assert client("alice", "call", "io.nothing.WhoAmI", "{}")["error"] == "org.varlink.service.InterfaceNotFound"
    refused = client("alice", "call", "io.vaultd.WhoAmI", '{"uid":0}')
    assert (refused["error"], refused["text"]) == ("org.varlink.service.InvalidParameter", "uid")
    assert client("alice", "call", "io.vaultd.Connect.Disconnect", '{"service":"notion"}')["error"] == "io.vaultd.NotConnected"


def test_oneway_gets_no_answer_and_the_next_call_its_own(client):
    assert client("alice", "oneway", "io.vaultd.Services", "{}")["parameters"]["uid"] == UIDS["alice"]


def test_more_streams_and_leaving_ends_it(client, world):
    first = client("alice", "more", "io.vaultd.Connect.Start", '{"service":"notion","label":"go"}')
    assert first["continues"] and first["parameters"]["link"]
    assert world.json("alice", "whoami")["uid"] == UIDS["alice"]
