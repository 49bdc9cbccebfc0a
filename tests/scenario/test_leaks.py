# SPDX-License-Identifier: LGPL-2.1-or-later
"""No secret lies where others, or a backup, could find it: logs, state folder, runtime folder, argv, environments.

The searcher is proved first: it finds canaries planted in every form and place. Then every kind of use runs, with vaultd's log
at its most talkative, and is searched for everything that was secret in it. What to look for does not come from vaultd: the
provider records what it issued, the keys are files of ours, and a vault's data key is unwrapped here with the key file.
"""

import base64
import ctypes
import hashlib
import hmac
import json
import os
import pathlib
import secrets
import shutil
import struct
import subprocess
import tempfile
import time
import urllib.parse

import pytest
from needles import ProcessSampler, Searcher
from world import UIDS, World, as_user, free_port, wait_for

CANARY = b'sk-canary/"+' + secrets.token_urlsafe(24).encode() + b'=\\ \xc3\xa9'


# The searcher itself

def base64_at(shift, encode=base64.b64encode):
    return encode(b"x" * shift + CANARY + b"tail")


PLANTED = {
    "raw": CANARY,
    "hex": CANARY.hex().encode(),
    "upper-hex": CANARY.hex().upper().encode(),
    "url": urllib.parse.quote(CANARY, safe="").encode(),
    "url-form": urllib.parse.quote_plus(CANARY, safe="").encode(),
    "url-all": "".join(f"%{byte:02x}" for byte in CANARY).encode(),
    "json": json.dumps({"token": CANARY.decode()}).encode(),
    "json-utf8": json.dumps([CANARY.decode()], ensure_ascii=False).encode(),
    "json-slashes": json.dumps(CANARY.decode()).replace("/", "\\/").encode(),
    "json-all": "".join(f"\\u{ord(each):04X}" for each in CANARY.decode()).encode(),
    **{f"base64-{shift}": base64_at(shift) for shift in range(3)},
    **{f"base64url-{shift}": base64_at(shift, base64.urlsafe_b64encode) for shift in range(3)},
    "basic-authorization": b"Authorization: Basic " + base64.b64encode(b"client:" + CANARY),
}


@pytest.mark.parametrize("form", PLANTED)
def test_planted_canary_is_found_in_a_file(tmp_path, form):
    searcher = Searcher({"canary": CANARY, "other": secrets.token_bytes(32)})
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/data.mdb").write_bytes(secrets.token_bytes(5000) + PLANTED[form] + secrets.token_bytes(5000))
    (tmp_path / "innocent").write_bytes(secrets.token_bytes(5000))
    assert searcher.find_in_files(tmp_path) == {str(tmp_path / "deep/data.mdb"): ["canary"]}


@pytest.mark.parametrize("form", PLANTED)
def test_planted_canary_is_found_in_argv_environ_and_log_of_a_child(tmp_path, form):
    planted, searcher = PLANTED[form], Searcher({"canary": CANARY})
    log = tmp_path / "child.log"
    code = "import os, sys, time; sys.stderr.buffer.write(os.environb[b'PLANTED']); sys.stderr.flush(); time.sleep(30)"
    with ProcessSampler() as sampler, log.open("wb") as errors:
        child = subprocess.Popen(["/usr/bin/python3", "-c", code, planted], stderr=errors, env={"PLANTED": planted})
        try:
            wait_for(lambda: searcher.find(log.read_bytes()), 20, "not found in the log")
            wait_for(lambda: any(searcher.find(each) for each in list(sampler.cmdlines)), 20, "not found in argv")
            wait_for(lambda: any(searcher.find(each.rpartition(b"\0\0")[2]) for each in list(sampler.environs)), 20, "not found in the environment")
        finally:
            child.kill()
            child.wait()


def test_canary_in_a_file_name_is_found(tmp_path):
    (tmp_path / urllib.parse.quote(CANARY, safe="")).touch()
    assert Searcher({"canary": CANARY}).find_in_files(tmp_path)


# The data key, from outside

class Gcrypt:
    """AES-256-GCM of the library that vaultd links too, so no Python package is needed."""

    AES256, MODE_GCM = 9, 9

    def __init__(self):
        self._library = ctypes.CDLL("libgcrypt.so.20")
        self._library.gcry_check_version.restype = ctypes.c_char_p
        self._library.gcry_check_version(None)

    def open(self, key, nonce, authenticated, sealed, tag):
        """The plaintext, or None."""
        library, handle = self._library, ctypes.c_void_p()
        size = ctypes.c_size_t
        assert library.gcry_cipher_open(ctypes.byref(handle), self.AES256, self.MODE_GCM, 0) == 0
        try:
            plain = ctypes.create_string_buffer(len(sealed))
            library.gcry_cipher_setkey(handle, key, size(len(key)))
            library.gcry_cipher_setiv(handle, nonce, size(len(nonce)))
            library.gcry_cipher_authenticate(handle, authenticated, size(len(authenticated)))
            library.gcry_cipher_decrypt(handle, plain, size(len(sealed)), sealed, size(len(sealed)))
            return plain.raw if library.gcry_cipher_checktag(handle, tag, size(len(tag))) == 0 else None
        finally:
            library.gcry_cipher_close(handle)


def data_keys(world, user):
    """The user's data key, found in the database by trying what lies near the vault's id with the key file (daemon/store/seal.c)."""
    vault = world.json(user, "whoami")["vault"]["id"].encode()
    wrap = hmac.new(world.kek.read_bytes(), b"vaultd wrap 1\0" + b"" + b"\x01", hashlib.sha256).digest()
    record = b"data-key"
    authenticated = struct.pack(">BBII", 1, ord("v"), UIDS[user], len(vault)) + vault + struct.pack(">I", len(record)) + record
    data, gcrypt = b"".join(file.read_bytes() for file in (world.root / "state").iterdir()), Gcrypt()
    keys, at = set(), data.find(vault)
    while at >= 0:
        for start in range(max(0, at - 600), min(at + 600, len(data) - 60)):
            sealed = data[start:start + 60]
            keys.add(gcrypt.open(wrap, sealed[:12], authenticated, sealed[12:44], sealed[44:]))
        at = data.find(vault, at + 1)
    return keys - {None}


# The whole of it

class LeakWorld(World):
    """Records what the provider issues and what vaultctl says, and lets vaultd log all it can."""

    def __init__(self, outside, **options):
        self.record = outside / "issued.jsonl"
        super().__init__(platform=True, provider_options=("--record", self.record, *options.pop("provider_options", ())), **options)
        self.said = []

    def vaultd_command(self):
        return [*super().vaultd_command(), "--log-level", "debug"]

    def vaultctl(self, *arguments, **options):
        done = super().vaultctl(*arguments, **options)
        self.said.append((done.stdout + done.stderr).encode())
        return done

    def issued(self):
        lines = [json.loads(line) for line in self.record.read_text().splitlines()]
        return [(line["kind"], line["value"].encode()) for line in lines]


def parked_code(world, user, *options):
    terminal, page = world.park(user, None, *options)
    assert terminal.hear()["state"] == "quarantined"
    return terminal, page["ids"]["claim-code"]


def use_everything(world):
    """Each way in, each way out, each failure in between. Returns the claim codes."""
    terminal, shown = parked_code(world, "alice")
    codes = [shown]
    terminal.say("0000-0000")
    terminal.hear()
    terminal.say(codes[0])
    assert terminal.hear()["state"] == "connected"
    terminal.end()

    # Paste-back: the address with the code goes through standard input.
    terminal = world.converse("bob", "connect", "notion", "--paste")
    terminal.say(browse_by_hand(world, "bob", terminal.hear()["authorizationUrl"]))
    assert terminal.hear()["state"] == "quarantined"
    terminal.say("y")
    assert terminal.hear()["state"] == "connected"
    terminal.end()

    terminal, code = parked_code(world, "carol")
    codes.append(code)
    terminal.kill()
    world.claim("carol", code)

    world.json("alice", "session", "start", "--yes")
    world.fault({"match": "POST /v1/vaults/*/credentials", "kind": "status", "status": 400, "times": 1})
    world.json("bob", "session", "start", "--yes", code=None)
    world.fault({"match": "POST /v1/sessions", "kind": "status", "status": 401, "times": 1})
    world.json("carol", "session", "start", "--yes", code=None)

    for order in ({"token": "fail"}, {"token": "garbage"}, {"token": "cut"}):
        terminal = world.converse("alice", "connect", "notion", "--as", "failing", "--no-browser")
        link = terminal.hear()["link"]
        world.stack.tamper(order)
        world.browse("alice", link)
        terminal.end()
    terminal, code = parked_code(world, "alice", "--as", "unclaimed")
    codes.append(code)
    terminal.kill()
    use_tokens_given_by_hand(world)
    use_refreshes(world)
    for user in ("alice", "bob", "carol"):
        world.json(user, "disconnect", "notion", "--yes", code=None)
    return codes


def use_tokens_given_by_hand(world):
    """Kept, kept anew, refused by the service, given to the platform, read, and refused to be read."""
    world.by_hand = {f"token by hand {number}": secrets.token_urlsafe(24).encode() for number in range(3)}
    first, second, refused = (token.decode() for token in world.by_hand.values())
    world.add_service("value", "[Service]\nName=value\nTitle=Value\nAuth=environment\nVariable=VALUE\nAllowedHosts=value.test\n")
    world.add_service("notes", f"[Service]\nName=notes\nTitle=Notes\nUrl={world.stack.url}\nAuth=bearer\nAccountTool=notion-get-self\n")
    world.configure(policy="[Server notion]\nTools=notion-get-self\n[Server value]\nTokenReaders=user:alice\n")
    world.restart_vaultd()
    world.json("alice", "connect", "value", "--token-stdin", "--yes", stdin=first)
    world.json("alice", "session", "start", "--yes", "--server", "value")
    world.json("alice", "connect", "value", "--token-stdin", "--yes", stdin=second)
    world.json("alice", "connect", "notes", "--token-stdin", "--yes", stdin=refused, code=6)
    world.json("alice", "connect", "notion", "--token-stdin", "--yes", stdin=refused, code=4)
    world.json("alice", "connect", "value", "--token-stdin", "--account", "x", stdin=refused, code=1)
    # Not through world.vaultctl(): to say it is what this command is for.
    read = subprocess.run(world.command("token", "value"), stdout=subprocess.PIPE, env=world.environment(), check=True, **as_user("alice"))
    assert read.stdout.decode() == second + "\n"
    world.json("bob", "connect", "value", "--token-stdin", "--yes", stdin=first)
    assert world.vaultctl("bob", "token", "value").returncode == 4


def use_refreshes(world):
    """Renewed, the answer lost, refused by a server that repeats what it was sent, and used for a session."""
    world.restart_vaultd({"VAULTD_TEST_CLOCK_OFFSET": "7200"})
    world.json("alice", "check", "notion", code=None)
    world.stack.tamper({"token": "cut"})
    world.json("bob", "check", "notion", code=None)
    sent = [value for kind, value in world.issued() if kind == "refresh_token"][-1].decode()
    world.stack.tamper({"path": "/token", "mode": "status", "status": 400, "body": {"error": sent, "error_description": sent}})
    world.json("carol", "check", "notion", code=None)
    world.json("alice", "session", "start", "--yes", "--server", "notion", code=None)
    world.restart_vaultd()


def browse_by_hand(world, user, url):
    """The browser with the address given on its standard input: argv is public, and it is not vaultd's browser we look at."""
    code = ("import runpy, sys; program, *options = sys.argv[1:]; "
            "sys.argv = [program, *options, sys.stdin.readline().strip()]; runpy.run_path(program, run_name='__main__')")
    done = subprocess.run(["/usr/bin/python3", "-I", "-c", code, world.root / "bin/browser", "--ca", world.stack.ca, "--login", f"{user}@notion.test",
                           "--stop-at-redirect-to", "http://127.0.0.1"], input=url + "\n", text=True, capture_output=True, timeout=60, **as_user(user))
    return json.loads(done.stdout)["redirect"]


def outside_folder(request):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="vaultd-leaks-"))
    request.addfinalizer(lambda: shutil.rmtree(folder))
    folder.chmod(0o755)
    return folder


def public_client(request):
    return LeakWorld(outside_folder(request))


def confidential_client(request):
    """A client that was registered by hand, with a secret; its redirect address has the issuer's digest in it."""
    outside, port = outside_folder(request), free_port()
    secret = outside / "client-secret"
    secret.touch(0o600)
    secret.write_text(secrets.token_urlsafe(32))
    os.chown(secret, UIDS["vaultd"], UIDS["vaultd"])
    digest = hashlib.sha256(f"https://127.0.0.1:{port}".encode()).hexdigest()[:16]
    world = LeakWorld(outside, services=f"ClientId=vaultd-by-hand\nClientSecretFile={secret}\n", provider_options=(
        "--listen", f"127.0.0.1:{port}", "--no-registration", "--client", f"vaultd-by-hand:{secret}",
        "--client-redirect", f"http://127.0.0.1/callback/{digest}"))
    world.client_secret = secret.read_bytes()
    return world


@pytest.fixture(scope="module", params=[public_client, confidential_client], ids=lambda make: make.__name__)
def used(request):
    """A world in which everything was used, with needles and samples."""
    with ProcessSampler() as sampler, request.param(request) as world:
        codes = use_everything(world)
        world.needles = {f"{kind} {number}": value for number, (kind, value) in enumerate(world.issued())}
        world.needles.update(world.by_hand)
        world.needles["workspace key"] = world.workspace_key.encode()
        world.needles["key file"] = world.kek.read_bytes()
        keys = {user: data_keys(world, user) for user in ("alice", "bob", "carol")}
        world.data_keys = keys
        for user, found in keys.items():
            world.needles.update({f"data key of {user} {number}": key for number, key in enumerate(found)})
        if hasattr(world, "client_secret"):
            world.needles["client secret"] = world.client_secret
        world.codes = {}
        for number, code in enumerate(codes):
            world.codes[f"claim code {number}"] = code.encode()
            world.codes[f"claim code {number} as typed"] = code.replace("-", "").encode()
        world.sampler = sampler
        yield world


def test_needles_of_every_kind_are_there(used):
    """Otherwise the tests below look for nothing."""
    kinds = {name.rsplit(" ", 1)[0] for name in used.needles}
    assert {"access_token", "refresh_token", "code", "state", "verifier"} <= kinds
    assert len([name for name in used.needles if name.startswith("access_token")]) >= 4
    assert all(len(keys) == 1 for keys in used.data_keys.values()), "a vault has one data key"
    assert used.codes
    assert b"http: POST" in used.log("vaultd").encode(), "the log is not at debug level"


@pytest.mark.parametrize("place", ["log", "state", "logins", "run"])
def test_nothing_secret_in_the_folder(used, place):
    assert list((used.root / place).iterdir()) or place == "logins"
    found = Searcher({**used.needles, **used.codes}).find_in_files(used.root / place)
    assert found == {}


def test_nothing_secret_in_the_files_of_the_configuration(used):
    assert Searcher({**used.needles, **used.codes}).find_in_files(used.root / "etc") == {}


def test_nothing_secret_in_what_vaultctl_says(used):
    searcher = Searcher({name: value for name, value in used.needles.items()})
    assert [searcher.find(said) for said in used.said if searcher.find(said)] == []


def test_nothing_secret_in_any_command_line(used):
    searcher = Searcher(used.needles)
    assert any(b"bin/vaultd\0" in each for each in used.sampler.cmdlines), "vaultd was never sampled"
    assert any(b"bin/vaultctl\0" in each for each in used.sampler.cmdlines), "vaultctl was never sampled"
    assert [(each.split(b"\0")[0], searcher.find(each)) for each in list(used.sampler.cmdlines) if searcher.find(each)] == []
    # A claim code stands where its user typed it, and nowhere else.
    codes = Searcher(used.codes)
    for each in list(used.sampler.cmdlines):
        if codes.find(each):
            words = each.split(b"\0")
            assert words[0].endswith(b"/vaultctl") and words[-5] == b"claim", words[0]


def test_nothing_secret_in_any_environment(used):
    searcher = Searcher({**used.needles, **used.codes})
    environs = [each.partition(b"\0\0") for each in used.sampler.environs]
    assert [(cmdline.split(b"\0")[0], searcher.find(environ)) for cmdline, _, environ in environs if searcher.find(environ)] == []


@pytest.mark.parametrize("program,user", [("vaultd_process", "vaultd"), ("web_process", "vaultd-web")])
def test_memory_is_closed_to_its_own_uid(used, program, user):
    """T16: not dumpable, so neither a core file nor another process of the same uid gets at the tokens."""
    pid = getattr(used, program).pid
    assert used.vaultd_process.poll() is None
    code = ("import sys\ntry:\n    open(f'/proc/{sys.argv[1]}/mem', 'rb')\nexcept PermissionError:\n    print('refused')\n")
    answer = subprocess.run(["/usr/bin/python3", "-c", code, str(pid)], text=True, capture_output=True, timeout=20, **as_user(user))
    assert answer.stdout.strip() == "refused", answer.stderr
    own = subprocess.Popen(["/usr/bin/sleep", "20"], **as_user(user))
    try:
        time.sleep(0.1)
        answer = subprocess.run(["/usr/bin/python3", "-c", code, str(own.pid)], text=True, capture_output=True, timeout=20, **as_user(user))
        assert answer.stdout.strip() == "", "the same question about an ordinary program has to be allowed"
    finally:
        own.kill()
        own.wait()
