# SPDX-License-Identifier: LGPL-2.1-or-later
"""The conversation of `vaultctl connect`, on a real pseudo-terminal and from scripts."""

import signal
import subprocess
import time

import pytest

from fake_vaultd import (ACCOUNT, AUTHORIZATION, CLAIMED, LINK, VAULTCTL, VERIFICATION, Error, FakeVaultd, Terminal, documents, environment, flow, run)

REDIRECT = "http://127.0.0.1:631/callback/abc?code=SECRETCODE&state=STATE"


def starts(conversation, message):
    """Answers Start by the way that was asked for; from afar by pasting, as where no page is published."""
    way = message["parameters"].get("way")
    if way == "paste":
        assert not message.get("more")
        conversation.send(flow(way="paste"))
    elif way == "remote" and message["parameters"]["service"] != "published":
        assert message["more"] is True
        conversation.send(flow(way="paste"), continues=True)
    else:
        assert message["more"] is True
        conversation.send(flow(way="device" if way == "device" else "page"), continues=True)
        if message["parameters"]["service"] != "slow":
            conversation.send(flow("quarantined"))


def server_with(**methods):
    return FakeVaultd({"io.vaultd.Connect." + name: answer for name, answer in {
        "Start": starts, "Claim": CLAIMED, "Cancel": {}, "Paste": flow("quarantined"), **methods}.items()})


def rejecting(n_wrong):
    """Claim refuses that many codes, like vaultd: three tries."""
    count = 0

    def claim(conversation, message):
        nonlocal count
        count += 1
        if count <= n_wrong:
            conversation.send(Error("io.vaultd.ClaimRejected", triesLeft=3 - count, message=f"Wrong code, {3 - count} tries left"))
        else:
            conversation.send(CLAIMED)
    return claim


# By the page

def test_code_typed_on_a_terminal_connects():
    with server_with() as server, Terminal(server, "connect", "notion", "--no-browser") as terminal:
        terminal.expect("Connecting Notion for alice on builder")
        terminal.expect("Alice at Notion (acc-1)")
        terminal.expect("Code shown on the page:")
        terminal.send("ABCD-EFGH")
        terminal.expect("Notion is connected as Alice at Notion (acc-1).")
        assert terminal.finish() == 0
        assert server.parameters_of("Connect.Start") == [{"service": "notion", "way": "page"}]
        assert server.parameters_of("Connect.Claim") == [{"flow": "f1", "code": "ABCD-EFGH"}]


def test_link_is_bare_on_its_own_line():
    with server_with() as server:
        assert LINK in run(server, "connect", "notion", "--no-browser", stdin="C\n").stdout.splitlines()
        with Terminal(server, "connect", "notion", "--no-browser", env=environment(server, NO_COLOR="1")) as terminal:
            terminal.expect("Code shown")
            assert LINK in terminal.text.splitlines()
        with Terminal(server, "connect", "notion", "--no-browser") as terminal:
            terminal.expect("Code shown")
            assert f"\x1b]8;;{LINK}\x1b\\{LINK}\x1b]8;;\x1b\\" in terminal.text.splitlines()


def test_options_reach_the_daemon():
    with server_with() as server:
        assert run(server, "connect", "notion", "--no-browser", "--as", "work", "--replace-account", stdin="C\n").returncode == 0
        assert server.parameters_of("Connect.Start") == [
            {"service": "notion", "label": "work", "way": "page", "replaceAccount": True}]


@pytest.mark.parametrize("n_wrong,code,n_calls", [(1, 0, 2), (2, 0, 3), (3, 1, 3)])
def test_three_tries_for_the_code(n_wrong, code, n_calls):
    with server_with(Claim=rejecting(n_wrong)) as server, Terminal(server, "connect", "notion", "--no-browser") as terminal:
        for i in range(n_calls):
            terminal.expect("Code shown on the page:")
            terminal.send(f"CODE{i}")
            if i < n_wrong:
                terminal.expect(f"Wrong code, {2 - i} tries left")
        assert terminal.finish() == code and len(server.parameters_of("Connect.Claim")) == n_calls


def test_liar_about_tries_gets_three():
    with server_with(Claim=Error("io.vaultd.ClaimRejected", triesLeft=99, message="No")) as server:
        result = run(server, "connect", "notion", "--no-browser", stdin="C\n" * 50)
        assert result.returncode == 1 and len(server.parameters_of("Connect.Claim")) == 3


def test_end_of_input_says_claim_and_exits_3():
    with server_with() as server:
        result = run(server, "connect", "notion", "--no-browser")
        assert result.returncode == 3 and result.stderr.splitlines()[-1] == "Run: vaultctl claim CODE"
        with Terminal(server, "connect", "notion", "--no-browser") as terminal:
            terminal.expect("Code shown on the page:")
            terminal.end_input()
            terminal.expect("Run: vaultctl claim CODE")
            assert terminal.finish() == 3
        assert server.parameters_of("Connect.Claim") == [] and server.parameters_of("Connect.Cancel") == []


def test_json_lines_of_the_page_way():
    with server_with() as server:
        result = run(server, "connect", "notion", "--no-browser", "--json", stdin="CODE\n")
        states = documents(result)
        assert result.returncode == 0 and result.stderr == "" and [d["state"] for d in states] == ["pending", "quarantined", "connected"]
        assert states[0]["link"] == LINK and states[1]["account"] == ACCOUNT and states[2]["custody"] == "mirror"
        result = run(server, "connect", "notion", "--no-browser", "--json")
        assert result.returncode == 3 and documents(result)[-1]["hint"] == "Run: vaultctl claim CODE" and result.stderr == ""


def test_another_account_than_expected_is_given_up():
    with server_with() as server:
        result = run(server, "connect", "notion", "--no-browser", "--account", "acc-2", stdin="CODE\n")
        assert result.returncode == 1 and "acc-2" in result.stderr
        assert server.parameters_of("Connect.Cancel") == [{"flow": "f1"}] and server.parameters_of("Connect.Claim") == []


def test_failed_flow_has_the_daemons_words():
    with FakeVaultd({"io.vaultd.Connect.Start": lambda conversation, message: (
            conversation.send(flow(), continues=True),
            conversation.send(Error("io.vaultd.FlowFailed", message="alice said no at Notion", hint="Run: vaultctl connect notion")))}) as server:
        result = run(server, "connect", "notion", "--no-browser")
        assert (result.returncode, result.stderr) == (1, "alice said no at Notion\nRun: vaultctl connect notion\n")


def test_sentences_fit_eighty_columns():
    with server_with() as server:
        for words in (["--no-browser"], ["--paste", "--yes"]):
            for line in run(server, "connect", "notion", *words, stdin=REDIRECT + "\n").stdout.splitlines():
                assert len(line) <= 80 or "://" in line


# The browser

def recorder(tmp_path, name="browser", status=0):
    script = tmp_path / name
    script.write_text(f'#!/bin/sh\nfor a in "$@"; do echo "$a" >>{tmp_path}/{name}.args; done\n'
                      f'echo noise; echo noise >&2; [ -t 0 ] && echo tty >>{tmp_path}/{name}.args\nexit {status}\n')
    script.chmod(0o755)
    return script


def arguments_of(tmp_path, name="browser"):
    path = tmp_path / (name + ".args")
    return path.read_text().splitlines() if path.exists() else []


def test_browser_gets_the_short_link_only(tmp_path):
    browser = recorder(tmp_path)
    with server_with() as server:
        result = run(server, "connect", "notion", "--json", stdin="C\n", env=environment(server, BROWSER=str(browser)))
        assert result.returncode == 0 and arguments_of(tmp_path) == [LINK]
        assert [d["state"] for d in documents(result)] == ["pending", "quarantined", "connected"] and result.stderr == ""


def test_browser_list_is_split_without_a_shell(tmp_path):
    failing, working = recorder(tmp_path, "failing", 3), recorder(tmp_path, "working")
    with server_with() as server:
        run(server, "connect", "notion", stdin="C\n", env=environment(
            server, BROWSER=f"/nonexistent/x:{failing}:{working} --new $(id) ;x url=%s 100%%:{recorder(tmp_path, 'unused')}"))
    assert arguments_of(tmp_path, "failing") == [LINK] and arguments_of(tmp_path, "unused") == []
    assert arguments_of(tmp_path, "working") == ["--new", "$(id)", ";x", "url=" + LINK, "100%"]


def test_no_browser_starts_none_and_neither_does_paste(tmp_path):
    browser = recorder(tmp_path)
    with server_with() as server:
        env = environment(server, BROWSER=str(browser))
        run(server, "connect", "notion", "--no-browser", stdin="C\n", env=env)
        assert run(server, "connect", "notion", "--paste", "--yes", stdin=REDIRECT + "\n", env=env).returncode == 0
        run(server, "connect", "notion", stdin="C\n", env=environment(server, PATH=str(tmp_path)))  # headless: not even xdg-open
    assert arguments_of(tmp_path) == []


def test_xdg_open_where_there_is_a_display(tmp_path):
    recorder(tmp_path, "xdg-open")
    with server_with() as server:
        path = f"{tmp_path}:/usr/bin:/bin"
        run(server, "connect", "notion", stdin="C\n", env=environment(server, PATH=path, DISPLAY=":9"))
        assert arguments_of(tmp_path, "xdg-open") == [LINK]
        run(server, "connect", "notion", stdin="C\n", env=environment(server, PATH=path, DISPLAY=":9", SSH_CONNECTION="a b c d"))
        assert arguments_of(tmp_path, "xdg-open") == [LINK]


# Over SSH

def test_headless_loopback_prints_the_exact_ssh_line():
    with server_with() as server:
        out = run(server, "connect", "notion", "--no-browser", stdin="C\n").stdout.splitlines()
        assert "ssh -L 631:127.0.0.1:631 alice@builder" in out
        out = run(server, "connect", "notion", "--no-browser", stdin="C\n", env=environment(server, DISPLAY=":9")).stdout
        assert "ssh -L" not in out


@pytest.mark.parametrize("changes,user", [
    ({"host": "x; rm -rf ~"}, "alice"), ({"host": "-oProxyCommand=x"}, "alice"), ({"port": 0}, "alice"), ({"port": 70000}, "alice"),
    ({}, "-oProxyCommand=x"), ({}, "a'b"), ({}, "")])
def test_ssh_line_is_never_a_trap(changes, user):
    whoami = {"uid": 1, "user": user, "origin": "login"}
    with FakeVaultd({"io.vaultd.WhoAmI": whoami, "io.vaultd.Connect.Start": [flow(**changes), flow("quarantined")],
                     "io.vaultd.Connect.Claim": CLAIMED}) as server:
        result = run(server, "connect", "notion", "--no-browser", stdin="C\n")
        assert result.returncode == 0 and "ssh -L" not in result.stdout


def test_odd_user_names_are_quoted_in_the_ssh_line():
    with FakeVaultd({"io.vaultd.WhoAmI": {"uid": 1, "user": "DOM\\al ice$x", "origin": "login"}, "io.vaultd.Connect.Claim": CLAIMED,
                     "io.vaultd.Connect.Start": [flow(), flow("quarantined")]}) as server:
        out = run(server, "connect", "notion", "--no-browser", stdin="C\n").stdout.splitlines()
        assert "ssh -L 631:127.0.0.1:631 'DOM\\al ice$x'@builder" in out


def test_p_switches_to_pasting():
    with server_with() as server, Terminal(server, "connect", "slow", "--no-browser") as terminal:
        terminal.expect("or press p Enter to paste the address instead")
        terminal.expect("Waiting for the browser")
        terminal.send("p")
        terminal.expect(AUTHORIZATION)
        terminal.expect("Address:")
        terminal.send("nonsense")
        terminal.expect("That is not it")
        terminal.expect("Address:")
        terminal.send(REDIRECT)
        terminal.expect("Connect Notion as Alice at Notion (acc-1)? [y/N]")
        assert server.parameters_of("Connect.Claim") == []
        terminal.send("y")
        terminal.expect("Notion is connected")
        assert terminal.finish() == 0
        assert [p["way"] for p in server.parameters_of("Connect.Start")] == ["page", "paste"]
        assert server.parameters_of("Connect.Paste") == [{"flow": "f1", "redirectUrl": REDIRECT}]
        assert server.parameters_of("Connect.Claim") == [{"flow": "f1", "account": "acc-1"}]


def test_qr_code_only_where_it_fits_and_the_link_is_public():
    def screen(link, **arguments):
        with FakeVaultd({"io.vaultd.Connect.Start": [flow(link=link), flow("quarantined")]}) as server:
            with Terminal(server, "connect", "notion", "--no-browser", **arguments) as terminal:
                terminal.expect("Code shown")
                return terminal.text

    import pathlib
    from fake_vaultd import VAULTCTL
    # Loaded at run time, so the name stands in the program and not among what it is linked with.
    if b"libqrencode.so" not in pathlib.Path(VAULTCTL).read_bytes():
        pytest.skip("built without libqrencode")
    assert "▀" in screen("https://vault.example/c/ABCDEF")
    assert "▀" not in screen(LINK)
    assert "▀" not in screen("https://vault.example/c/ABCDEF", columns=30)
    assert "▀" not in screen("https://vault.example/c/ABCDEF", rows=10)


# Over SSH

SSH = {"SSH_CONNECTION": "192.0.2.1 2 192.0.2.3 22"}


def test_over_ssh_without_a_published_page_it_is_pasting():
    with server_with() as server, Terminal(server, "connect", "notion", "--no-browser", env=environment(server, **SSH)) as terminal:
        terminal.expect(AUTHORIZATION)
        terminal.expect("ssh -L 631:127.0.0.1:631 alice@builder")
        terminal.expect("vaultctl connect notion --page")
        terminal.expect("Address:")
        terminal.send(REDIRECT)
        terminal.expect("[y/N]")
        terminal.send("y")
        terminal.expect("Notion is connected")
        assert terminal.finish() == 0
        assert [p["way"] for p in server.parameters_of("Connect.Start")] == ["remote"]


def test_over_ssh_a_published_page_is_the_page():
    with server_with() as server:
        result = run(server, "connect", "published", "--no-browser", stdin="C\n", env=environment(server, **SSH))
        assert result.returncode == 0 and LINK in result.stdout.splitlines()
        assert server.parameters_of("Connect.Claim") == [{"flow": "f1", "code": "C"}]


@pytest.mark.parametrize("words,variables,way", [
    ((), {}, "page"), (("--page",), SSH, "page"), (("--paste", "--yes"), SSH, "paste"), ((), {**SSH, "BROWSER": "true"}, "page"),
    (("--no-browser",), {**SSH, "BROWSER": "true"}, "remote"), ((), {"SSH_TTY": "/dev/pts/3"}, "remote")])
def test_way_by_where_the_browser_is(words, variables, way):
    with server_with() as server:
        run(server, "connect", "published", *words, stdin=(REDIRECT if way == "paste" else "C") + "\n", env=environment(server, **variables))
        assert [p["way"] for p in server.parameters_of("Connect.Start")] == [way]


# By a device code

def test_device_code_is_shown_and_the_account_agreed_to():
    with server_with() as server, Terminal(server, "connect", "notion", "--device") as terminal:
        terminal.expect("Connecting Notion for alice on builder.")
        terminal.expect("WDJB-MJHT")
        terminal.expect("give the code to nobody")
        terminal.expect("Connect Notion as Alice at Notion (acc-1)? [y/N]")
        assert server.parameters_of("Connect.Claim") == [] and f"\x1b]8;;{VERIFICATION}\x1b\\{VERIFICATION}\x1b]8;;\x1b\\" in terminal.text.splitlines()
        terminal.send("y")
        terminal.expect("Notion is connected")
        assert terminal.finish() == 0
        assert server.parameters_of("Connect.Start") == [{"service": "notion", "way": "device"}]
        assert server.parameters_of("Connect.Claim") == [{"flow": "f1", "account": "acc-1"}]


def test_device_address_reaches_no_browser_program(tmp_path):
    browser = recorder(tmp_path)
    with server_with() as server:
        result = run(server, "connect", "notion", "--device", "--yes", "--json", env=environment(server, BROWSER=str(browser)))
        assert result.returncode == 0 and [d["state"] for d in documents(result)] == ["pending", "quarantined", "connected"]
        assert documents(result)[0]["userCode"] == "WDJB-MJHT" and arguments_of(tmp_path) == []


@pytest.mark.parametrize("changes", [{"verificationUri": "http://127.0.0.1/device"}, {"verificationUri": "https://x@provider.test/"}, {"verificationUri": "javascript:x"},
                                     {"userCode": ""}, {"userCode": "x" * 65}, {"userCode": None}])
def test_device_prompt_that_cannot_be_shown_is_refused(changes):
    prompt = {name: value for name, value in flow(way="device", **changes).items() if value is not None}
    with server_with(Start=[prompt, flow("quarantined")]) as server:
        result = run(server, "connect", "notion", "--device", "--yes")
        assert result.returncode == 1 and server.parameters_of("Connect.Claim") == []


@pytest.mark.parametrize("words", [("--device", "--paste"), ("--page", "--token-stdin"), ("--page", "--paste", "--device")])
def test_one_way_at_a_time(words):
    with server_with() as server:
        assert run(server, "connect", "notion", *words).returncode == 2 and server.parameters_of("Connect.Start") == []


# ^C

@pytest.mark.parametrize("words,prompt", [
    (("notion", "--no-browser"), "Code shown on the page:"), (("slow", "--no-browser"), "Waiting for the browser"), (("notion", "--paste"), "Address:"),
    (("slow", "--device"), "Waiting for the approval"), (("notion", "--device"), "[y/N]")])
def test_interrupt_gives_the_flow_up(words, prompt):
    with server_with() as server, Terminal(server, "connect", *words) as terminal:
        terminal.expect(prompt)
        terminal.interrupt()
        terminal.expect("Given up, nothing was connected")
        assert terminal.finish() == 1
        assert server.parameters_of("Connect.Cancel") == [{"flow": "f1"}] and server.parameters_of("Connect.Claim") == []


def test_interrupt_at_the_question_of_pasting_gives_the_flow_up():
    with server_with() as server, Terminal(server, "connect", "notion", "--paste") as terminal:
        terminal.expect("Address:")
        terminal.send(REDIRECT)
        terminal.expect("[y/N]")
        terminal.interrupt()
        terminal.expect("Given up")
        assert terminal.finish() == 1
        assert server.parameters_of("Connect.Cancel") == [{"flow": "f1"}] and server.parameters_of("Connect.Claim") == []


def silent(conversation, message):
    """Answers nothing, as while a service takes its time."""


def test_interrupt_while_vaultd_works_ends_the_command_at_once():
    for methods, words, cancelled in (({"Start": silent}, ("notion",), []), ({"Paste": silent}, ("notion", "--paste"), [{"flow": "f1"}])):
        with server_with(**methods) as server, Terminal(server, "connect", *words, "--no-browser") as terminal:
            if "--paste" in words:
                terminal.expect("Address:")
                terminal.send(REDIRECT)
            deadline = time.monotonic() + 10
            while not server.parameters_of("Connect." + next(iter(methods))) and time.monotonic() < deadline:
                time.sleep(0.02)
            terminal.interrupt()
            terminal.expect("Given up", timeout=5)
            assert terminal.finish() == 1 and server.parameters_of("Connect.Cancel") == cancelled


def test_interrupt_during_the_claim_says_what_is_certain():
    """Whether the claim or the cancel came first, vaultd knows."""
    for cancel, words in (({}, "nothing was connected"), (Error("io.vaultd.NotFound", message="gone"), "Run: vaultctl status")):
        with server_with(Claim=silent, Cancel=cancel) as server, Terminal(server, "connect", "notion", "--no-browser") as terminal:
            terminal.expect("Code shown on the page:")
            terminal.send("CODE")
            deadline = time.monotonic() + 10
            while not server.parameters_of("Connect.Claim") and time.monotonic() < deadline:
                time.sleep(0.02)
            terminal.interrupt()
            terminal.expect(words, timeout=5)
            assert terminal.finish() == 1 and server.parameters_of("Connect.Cancel") == [{"flow": "f1"}]


def test_interrupt_of_a_script_is_a_document(tmp_path):
    with server_with() as server:
        for ignore in (False, True):
            process = subprocess.Popen([VAULTCTL, "connect", "slow", "--no-browser", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       env=environment(server), text=True, preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignore else None)
            assert process.stdout.readline()
            process.send_signal(signal.SIGINT)
            if ignore:      # a job in the background
                time.sleep(1)
                assert process.poll() is None
                process.kill()
                process.communicate()
                continue
            out, err = process.communicate(timeout=15)
            assert process.returncode == 1 and err == "" and '"io.vaultd.client.Interrupted"' in out
        assert server.parameters_of("Connect.Cancel") == [{"flow": "f1"}]


def test_browser_can_be_interrupted_though_we_cannot(tmp_path):
    script = tmp_path / "browser"
    script.write_text(f"#!/usr/bin/python3\nimport signal\nopen('{tmp_path}/blocked', 'w').write(str(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))))\n")
    script.chmod(0o755)
    with server_with() as server:
        assert run(server, "connect", "notion", stdin="C\n", env=environment(server, BROWSER=str(script))).returncode == 0
    assert (tmp_path / "blocked").read_text() == "[]"


# Claiming elsewhere

def test_claim_without_a_terminal_needs_the_account():
    with server_with() as server:
        for words in (("CODE",), ("-",), ()):
            result = run(server, "claim", *words, stdin="CODE\n")
            assert result.returncode == 2 and "--account" in result.stderr and server.parameters_of("Connect.Claim") == []
        assert run(server, "claim", "CODE", "--account", "acc-1").returncode == 0
        assert run(server, "claim", "-", "--account", "acc-1", stdin=" CODE \n").returncode == 0
        assert run(server, "claim", "--account", "acc-1").returncode == 0
        assert server.parameters_of("Connect.Claim") == [{"code": "CODE", "account": "acc-1"}] * 2 + [{"account": "acc-1"}]


def test_claim_on_a_terminal_needs_only_the_code():
    with server_with() as server, Terminal(server, "claim") as terminal:
        terminal.expect("Code shown on the page:")
        terminal.send("CODE")
        terminal.expect("Notion is connected")
        assert terminal.finish() == 0 and server.parameters_of("Connect.Claim") == [{"code": "CODE"}]


# By pasting

def test_paste_from_a_script():
    with server_with() as server:
        result = run(server, "connect", "notion", "--paste", "--account", "acc-1", "--json", stdin=REDIRECT + "\n")
        assert result.returncode == 0 and [d["state"] for d in documents(result)] == ["pending", "quarantined", "connected"]
        assert documents(result)[0]["authorizationUrl"] == AUTHORIZATION
        result = run(server, "connect", "notion", "--paste", stdin=REDIRECT + "\nyes\n")
        assert result.returncode == 0 and AUTHORIZATION in result.stdout.splitlines()


@pytest.mark.parametrize("stdin,code", [(REDIRECT + "\nno\n", 1), (REDIRECT + "\n", 3), ("", 3), ("garbage SECRETCODE\n", 1)])
def test_paste_without_a_yes_connects_nothing(stdin, code):
    with server_with() as server:
        result = run(server, "connect", "notion", "--paste", stdin=stdin)
        assert result.returncode == code and "SECRETCODE" not in result.stdout + result.stderr
        assert server.parameters_of("Connect.Claim") == [] and server.parameters_of("Connect.Cancel") == [{"flow": "f1"}]


def test_paste_of_another_account_is_given_up():
    with server_with() as server:
        result = run(server, "connect", "notion", "--paste", "--account", "acc-2", "--yes", stdin=REDIRECT + "\n")
        assert result.returncode == 1 and server.parameters_of("Connect.Claim") == []


def test_pasted_line_is_never_repeated_in_a_fault():
    for error in (Error("io.vaultd.FlowFailed", message="The state is not of this flow"),
                  Error("org.varlink.service.InvalidParameter", parameter="redirectUrl"), b"nonsense\0"):
        with server_with(Paste=error) as server:
            for words in ([], ["--json"]):
                result = run(server, "connect", "notion", "--paste", "--yes", *words, stdin=REDIRECT + "\n")
                assert result.returncode == 1 and "SECRETCODE" not in result.stdout + result.stderr


def test_line_cut_by_the_terminal_is_refused():
    with server_with() as server, Terminal(server, "connect", "notion", "--paste") as terminal:
        terminal.expect("Address:")
        terminal.send("http://127.0.0.1/?code=" + "x" * 5000)
        terminal.expect("was cut")
        assert terminal.finish() == 1 and server.parameters_of("Connect.Paste") == []


def test_long_line_from_a_script_is_passed_whole():
    long = REDIRECT + "&x=" + "y" * 9000
    with server_with() as server:
        assert run(server, "connect", "notion", "--paste", "--yes", stdin=long).returncode == 0
        assert server.parameters_of("Connect.Paste") == [{"flow": "f1", "redirectUrl": long}]


def test_three_answers_that_are_neither_yes_nor_no_are_a_no():
    with server_with() as server, Terminal(server, "disconnect", "notion") as terminal:
        for answer in ("perhaps", "clear", "y es"):
            terminal.expect("[y/N]")
            terminal.send(answer)
        assert terminal.finish() == 1 and "Nothing was disconnected" in terminal.text
        assert not server.parameters_of("Connect.Disconnect")
