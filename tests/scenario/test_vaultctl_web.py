# SPDX-License-Identifier: LGPL-2.1-or-later
"""vaultctl web against a stand-in for vaultd: what it asks, says, hands to a browser and refuses. The page itself is in test_web_page.py."""

import pytest
from fake_vaultd import Error, FakeVaultd, Terminal, documents, environment, run

LINK = "https://vault.example.org/open/Zm9vYmFyLXRpY2tldA"
OPEN, END, CONFIRM = "io.vaultd.Page.Open", "io.vaultd.Page.End", "io.vaultd.Page.Confirm"
GONE = {"service": "notion", "title": "Notion", "revoked": True}


def opened(**changes):
    reply = {"link": LINK, "user": "alice", "host": "build1", "expires": 1_900_000_000_000_000, **changes}
    return {name: value for name, value in reply.items() if value is not None}


@pytest.fixture
def browser(tmp_path):
    """(environment changes, a function that gives what the browser was started with)."""
    program, seen = tmp_path / "browser", tmp_path / "seen"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{seen}\n')
    program.chmod(0o755)
    return {"BROWSER": str(program)}, lambda: seen.read_text().split() if seen.exists() else None


def test_link_is_printed_on_a_line_of_its_own():
    with FakeVaultd({OPEN: opened()}) as server:
        result = run(server, "web", "--no-browser")
        assert result.returncode == 0 and LINK in result.stdout.splitlines() and "code" not in result.stdout
        assert "only if the page names alice and build1" in result.stdout
        assert server.parameters_of("Page.Open") == [{"withCode": False}]


def test_a_browser_gets_the_link_and_the_terminal_the_code(browser):
    changes, seen = browser
    with FakeVaultd({OPEN: opened(code="K7QF-2M9X")}) as server:
        result = run(server, "web", env=environment(server, **changes))
        assert result.returncode == 0 and "asks for this code: K7QF-2M9X" in result.stdout and "Your browser has been opened." in result.stdout
        assert seen() == [LINK]
        assert server.parameters_of("Page.Open") == [{"withCode": True}]


@pytest.mark.parametrize("words", [["--no-browser"], ["--json"], ["--json", "--no-browser"]])
def test_no_browser_is_started_where_none_is_wanted(browser, words):
    changes, seen = browser
    with FakeVaultd({OPEN: opened()}) as server:
        assert run(server, "web", *words, env=environment(server, **changes)).returncode == 0
        assert seen() is None and server.parameters_of("Page.Open") == [{"withCode": False}]


def test_json_is_the_daemons_answer():
    with FakeVaultd({OPEN: opened(), END: {"pages": 2}, CONFIRM: GONE}) as server:
        assert documents(run(server, "--json", "web")) == [opened()]
        assert documents(run(server, "--json", "web", "--end")) == [{"pages": 2}]
        assert documents(run(server, "--json", "web", "--confirm", "x")) == [GONE]


@pytest.mark.parametrize("changes", [
    {"link": None}, {"link": "http://vault.example.org/open/x"}, {"link": "http://127.0.0.1:876/open/x"}, {"link": "https://user@evil.example/"},
    {"link": "javascript:alert(1)"}, {"link": "https://x/\x1b[2J"}, {"link": "https://x/ --flag"}, {"link": "https://x/" + "a" * 3000}, {"user": None}, {"host": 7},
    {"code": None}, {"code": 7},
])
def test_what_must_not_be_opened_is_refused(browser, changes):
    started, seen = browser
    with FakeVaultd({OPEN: opened(**{"code": "K7QF-2M9X", **changes})}) as server:
        result = run(server, "web", env=environment(server, **started))
        assert result.returncode == 1 and "makes no sense" in result.stderr and seen() is None and LINK not in result.stdout


def test_foreign_bytes_do_not_reach_the_terminal():
    with FakeVaultd({OPEN: opened(user="ali\x1b[31mce", host="bu\x07ild")}) as server:
        result = run(server, "web", "--no-browser")
        assert result.returncode == 0 and "\x1b" not in result.stdout and "\x07" not in result.stdout


@pytest.mark.parametrize("n, text", [(0, "No page of yours was open.\n"), (1, "Your page is closed.\n"), (3, "Your pages are closed: 3.\n")])
def test_end_says_what_was_open(n, text):
    with FakeVaultd({END: {"pages": n}}) as server:
        result = run(server, "web", "--end")
        assert (result.returncode, result.stdout) == (0, text)


def test_code_comes_from_the_command_line_or_standard_input():
    with FakeVaultd({CONFIRM: GONE}) as server:
        for words, stdin in ((["--confirm", "K7QF-2M9X"], ""), (["--confirm", "-"], " K7QF-2M9X \n")):
            result = run(server, "web", *words, stdin=stdin)
            assert (result.returncode, result.stdout) == (0, "Notion is disconnected: revoked there, erased here.\n")
        assert server.parameters_of("Page.Confirm") == [{"code": "K7QF-2M9X"}] * 2
        assert run(server, "web", "--confirm", "-").returncode == 2
        assert len(server.parameters_of("Page.Confirm")) == 2


def test_code_is_asked_for_on_a_terminal():
    with FakeVaultd({CONFIRM: GONE}) as server, Terminal(server, "web", "--confirm", "-") as terminal:
        terminal.expect("Code shown on the page:")
        terminal.send("K7QF-2M9X")
        terminal.expect("is disconnected")
        assert terminal.finish() == 0


def test_wrong_code_says_how_many_tries_are_left():
    with FakeVaultd({CONFIRM: Error("io.vaultd.ClaimRejected", message="that is not the code; 2 tries left", triesLeft=2)}) as server:
        result = run(server, "web", "--confirm", "x")
        assert (result.returncode, result.stderr) == (1, "that is not the code; 2 tries left\n")


@pytest.mark.parametrize("words", [["--end", "--confirm", "x"], ["word"], ["--confirm"]])
def test_wrong_usage_asks_nothing(words):
    with FakeVaultd({}) as server:
        assert run(server, "web", *words).returncode == 2
        assert server.parameters_of("Page.End") == server.parameters_of("Page.Confirm") == []
