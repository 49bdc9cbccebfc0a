# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page of services on a stage: vaultd-web before a stand-in for vaultd, nginx in front of it, Chromium as the audience."""

import contextlib
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile

from conftest import PROGRAM, ROOT
from fake_vaultd import FakeVaultd, card, in_ten_minutes

FIXTURES = ROOT / "tests/fixtures"
sys.path[:0] = [str(FIXTURES / "browser"), str(FIXTURES / "tls")]
from chromium import Chromium    # noqa: E402 (the folders are no packages)
from nginx import Proxy    # noqa: E402

NAME = "vault.example.org"


def cards():
    """One of each kind that there is."""
    day = 86_400_000_000
    now = in_ten_minutes() - 600_000_000
    return [
        card("notion", "Notion", state="active", account="alice@example.org", renews=True),
        card("notion", "Notion", label="work", state="active", account="archer@work.example", renews=True),
        card("github", "GitHub", kind="token", state="active", account="alice-archer", expires=now + 36 * day),
        card("slack", "Slack", state="needs-reconnect", account="Alice (Example Ltd)", reason="Slack has ended this connection."),
        card("linear", "Linear", begun="quarantined", begunAccount="alice@example.org", begunExpires=in_ten_minutes()),
        card("google", "Google", begun="continued", begunExpires=in_ten_minutes()),
        card("sentry", "Sentry"),
        card("jira", "Jira", notSetUp="Jira needs a client that your administrator registers."),
        card("deploy-key", "Deploy key", kind="token"),
        card("asana", "asana", kind="gone", state="active", account="alice@example.org", expires=now + 3_600_000_000),
    ]


class Stage(contextlib.ExitStack):
    def __enter__(self):
        super().__enter__()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def _build(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vaultd-stage-"))
        self.callback(shutil.rmtree, self.folder, ignore_errors=True)
        subprocess.run([FIXTURES / "tls/make-ca", self.folder / "tls", NAME, "evil.test", "evil.example.org"], check=True)
        self.vaultd = FakeVaultd(self.folder / "io.vaultd.web")
        self.callback(self.vaultd.close)
        self.vaultd.answers["Services"].update(cards=cards(), expires=in_ten_minutes() + 3_000_000_000)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.origin = f"https://{NAME}:{port}"
        self.vaultd.answers["Begin"]["location"] = f"{self.origin}/connect/bmV3LXRpY2tldA"
        self._web = subprocess.Popen([PROGRAM, "--socket", self.vaultd.path, "--listen", "127.0.0.1:0", "--external", "--external-url", self.origin],
                                     stdout=subprocess.PIPE, stderr=(self.folder / "log").open("wb"), stdin=subprocess.DEVNULL)
        self.callback(self._end)
        behind = int(re.search(r":(\d+)\n", self._web.stdout.readline().decode())[1])
        self.enter_context(Proxy(self.folder / "nginx", self.folder / "tls", port, behind))
        self.browser = self.enter_context(Chromium(self.folder / "tls/cert.pem", names=[NAME, "evil.test", "evil.example.org"]))

    def _end(self):
        self._web.terminate()
        self._web.wait(40)
        self._web.stdout.close()

    def visitor(self, **more):
        """A window with the page of services."""
        window = self.browser.person(**more)
        window.open(self.origin + "/open/bGluaw")
        return window.click("#open button")

    PAGES = {"open": "/open/bGluaw", "connect": "/connect/dGlja2V0", "result": "/callback/9f86d081?state=s&code=c", "fault": "/nowhere"}

    def show(self, window, page):
        """One of the pages that there are; the window is a visitor's."""
        if page == "services":
            window.open(self.origin + "/")
        elif page == "offer":
            window.open(self.origin + "/").click('form[action="/offer"] button')
        elif page == "closed":
            self.browser.call("Storage.clearCookies", browserContextId=window.context)
            window.open(self.origin + "/")
        else:
            self.vaultd.answers["Invitation"]["takesCode"] = page == "open"
            window.open(self.origin + self.PAGES[page])
        return window
