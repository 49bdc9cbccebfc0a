# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who owns a grant's tokens (V4), and what a session is bound to (S1, S2, S8): seen from the platform, past vaultd."""

import json

from world import World, wait_for


def credentials(world, vault):
    return world.ask_platform(f"/v1/vaults/{vault}/credentials?limit=100&include_archived=true")["data"]


def test_mirror_gives_the_platform_an_access_token_and_no_refresh(fresh_world):
    world = fresh_world
    assert world.connect("alice")["custody"] == "mirror"
    [vault] = world.platform_all("/v1/vaults")
    assert credentials(world, vault["id"]) == [], "nothing is pushed before a session runs"
    session = world.json("alice", "session", "start", "--yes", "--message", "call notion notion-get-self {}")["session"]
    assert session["vaultIds"] == [vault["id"]]
    [pushed] = credentials(world, vault["id"])
    assert not pushed["auth"].get("refresh") and pushed["auth"]["mcp_server_url"] == world.stack.url
    wait_for(lambda: ("alice@notion.test", "notion-get-self") in world.mcp_calls()[1:], what="the session did not reach the service as alice")


def test_disconnect_archives_at_the_platform(fresh_world):
    world = fresh_world
    world.connect("alice")
    world.json("alice", "session", "start", "--yes")
    [vault] = world.platform_all("/v1/vaults")
    world.json("alice", "disconnect", "notion")
    [archived] = credentials(world, vault["id"])
    assert archived["archived_at"]
    assert world.grants("alice@notion.test") == (0, 0)


def test_platform_custody_keeps_the_refresh_token_there_alone():
    with World(custody="platform") as world:
        connected = world.connect("alice")
        assert connected["custody"] == "platform" and "agents on this host cannot use it" in connected["notice"]
        [vault] = world.platform_all("/v1/vaults")
        [pushed] = credentials(world, vault["id"])
        assert pushed["auth"]["refresh"]["client_id"]
        session = world.json("alice", "session", "start", "--yes")["session"]
        assert session["vaultIds"] == [vault["id"]]


def test_host_custody_is_said_at_connect_and_refused_for_sessions():
    with World(custody="host") as world:
        connected = world.connect("alice")
        assert connected["custody"] == "host" and "sessions on the Claude Platform cannot use it" in connected["notice"]
        assert world.platform_all("/v1/vaults") == []
        assert world.json("alice", "session", "start", "--yes", code=4)["error"] == "io.vaultd.NotAllowed"


def test_without_workspace_key_everything_but_sessions_works():
    with World(platform=False) as world:
        assert world.connect("alice")["custody"] == "host"
        assert world.json("alice", "status")["platform"] is False
        assert world.json("alice", "session", "list")["sessions"] == []


def test_platform_away_at_connect_does_not_undo_the_connection(fresh_world):
    world = fresh_world
    world.fault({"match": "POST /v1/vaults", "kind": "status", "status": 401, "times": 1})
    connected = world.connect("alice")
    assert "Claude Platform" in connected["notice"]
    session = world.json("alice", "session", "start", "--yes")["session"]
    assert session["vaultIds"] == [vault["id"] for vault in world.platform_all("/v1/vaults")]


def test_plan_names_servers_accounts_and_tools_before_anything_starts(fresh_world):
    world = fresh_world
    world.connect("alice")
    done = world.vaultctl("alice", "session", "start")
    assert done.returncode == 2 and world.platform_all("/v1/sessions") == []
    for word in ("Notion", "alice@notion.test", "notion-search", "notion-create-pages"):
        assert word in done.stdout + done.stderr, word


def test_session_refuses_a_plan_that_changed_since_it_was_shown(fresh_world):
    world = fresh_world
    world.connect("alice")
    plan = world.caller("alice").reply("io.vaultd.Session.Plan")["parameters"]["digest"]
    world.configure(policy="[Server notion]\nTools=notion-get-self notion-create-pages\n")
    world.restart_vaultd()
    assert world.caller("alice").reply("io.vaultd.Session.Start", {"plan": plan})["error"] == "io.vaultd.PlanChanged"
    assert world.platform_all("/v1/sessions") == []


def test_tools_are_off_unless_policy_names_them(fresh_world):
    world = fresh_world
    world.connect("alice")
    session = world.json("alice", "session", "start", "--yes")["session"]
    agent = world.ask_platform(f"/v1/sessions/{session['id']}")["agent"]
    toolsets = {tool.get("mcp_server_name", tool["type"]): tool for tool in agent["tools"]}
    assert not any(tool["default_config"]["enabled"] for tool in agent["tools"]), json.dumps(agent["tools"])
    enabled = {config["name"]: config["permission_policy"]["type"] for config in toolsets["notion"]["configs"] if config["enabled"]}
    assert enabled == {"notion-get-self": "always_allow", "notion-search": "always_allow", "notion-create-pages": "always_ask"}


def test_two_accounts_of_one_service_are_refused_by_name(fresh_world):
    """T19: equal rank is not a choice that vaultd makes."""
    world = fresh_world
    world.connect("alice")
    terminal, page = world.park("alice", "carol@notion.test", "--as", "second")
    terminal.hear()
    terminal.say(page["ids"]["claim-code"])
    assert terminal.hear()["state"] == "connected"
    terminal.end()
    answer = world.json("alice", "session", "start", "--yes", code=4)
    assert "2 accounts" in answer["message"] and "Notion" in answer["message"]
