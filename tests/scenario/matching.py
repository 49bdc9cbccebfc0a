# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whose account is whose, in root's words: AccountMatch= for a world, and what the provider still honours of what it gave out."""

import base64
import json
import urllib.parse

from world import World


def allow(world, lines, more="Device=yes\n", settings=None):
    """Accounts by name for each user: {user: [account, …]}. Takes effect with a restart of vaultd. Returns root's file."""
    path = world.root / "etc/accounts"
    write(path, lines)
    world._services = f"AccountMatch={path}\nAccountMatchBy=name\n" + more
    world.configure(settings)
    world.restart_vaultd()
    return path


def write(path, lines):
    path.write_text("# user account\n" + "".join(f"{user} {account}\n" for user, accounts in lines.items() for account in accounts))


def approve(world, prompt, account, *options, user="bob"):
    """Somebody's browser at the provider's page for device codes."""
    return world.browse(user, prompt["verificationUri"], account, "--user-code", prompt["userCode"], *options)


def agree_and_copy(world, url, account, user="bob"):
    """Somebody's browser agrees at the provider; the address at which it would come back here."""
    return world.browse(user, url, account, "--stop-at-redirect-to", "http://127.0.0.1")["redirect"]


class Watched(World):
    """A world whose provider writes down each token that it gives out, so that each can be asked about."""

    def __init__(self, *arguments, record, **named):
        self._record = record
        record.touch(0o600)
        super().__init__(*arguments, provider_options=("--record", record), **named)

    def tokens(self):
        """Every access and refresh token that was ever given out, in order."""
        lines = [json.loads(line) for line in self._record.read_text().splitlines()]
        return [line["value"] for line in lines if line["kind"] in ("access_token", "refresh_token")]

    def is_active(self, token):
        """What the provider says to whoever shows it this token (RFC 7662)."""
        name, secret = self.stack.introspection
        basic = base64.b64encode(f"{name}:{secret}".encode()).decode()
        answer = self.stack.http(self.stack.issuer + "/token/introspection", urllib.parse.urlencode({"token": token}).encode(),
                                 {"Authorization": "Basic " + basic, "Content-Type": "application/x-www-form-urlencoded"})
        assert answer.status == 200, answer.text
        return answer.json["active"]

    def active(self):
        return [token for token in self.tokens() if self.is_active(token)]
