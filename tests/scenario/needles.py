# SPDX-License-Identifier: LGPL-2.1-or-later
"""Looks for secrets in bytes, in every form in which a program may have let one slip.

A needle is found raw, in base64 at any of the three alignments (standard and URL alphabet), in hexadecimal, with any or all of
its characters URL-escaped, and as the inside of a JSON string, escaped as little or as much as JSON allows. A
`ProcessSampler` collects the command lines and environments of all processes of the machine while a test runs; what to
look for in them is only known afterwards.
"""

import base64
import json
import pathlib
import threading
import urllib.parse


def _base64_forms(needle):
    """What of the needle's base64 does not depend on its neighbours, for each alignment in a longer text."""
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + needle)
        # Characters with bits of the bytes in front, and those with bits of what follows.
        first = (shift * 8 + 5) // 6
        last = (shift + len(needle)) * 8 // 6
        yield encoded[first:last]
        yield encoded[first:last].translate(bytes.maketrans(b"+/", b"-_"))


def _url_forms(needle):
    yield urllib.parse.quote_from_bytes(needle, safe="").encode()
    yield urllib.parse.quote_plus(needle, safe="").encode()
    yield b"".join(b"%%%02X" % byte for byte in needle)
    yield b"".join(b"%%%02x" % byte for byte in needle)


def _json_forms(needle):
    try:
        text = needle.decode()
    except UnicodeDecodeError:
        return
    for ascii_only in (True, False):
        plain = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield plain.encode()
        yield plain.replace("/", "\\/").encode()
    yield "".join(f"\\u{ord(character):04x}" for character in text).encode()
    yield "".join(f"\\u{ord(character):04X}" for character in text).encode()


def forms(needle):
    """All byte strings that give the needle away."""
    return {needle, needle.hex().encode(), needle.hex().upper().encode(),
            *_base64_forms(needle), *_url_forms(needle), *_json_forms(needle)}


class Searcher:
    """Needles with a name each: {name: bytes}. Short ones are refused, for they are found everywhere."""

    def __init__(self, needles):
        self._forms = []
        for name, needle in needles.items():
            assert len(needle) >= 8, f"{name} is too short to look for"
            self._forms += [(name, form) for form in forms(needle)]

    def find(self, haystack):
        """Names of the needles that are in there; never the needles themselves, a report may be public."""
        return sorted({name for name, form in self._forms if form in haystack})

    def find_in_files(self, folder):
        """The same for each file below a folder: {path: names}; names of files count as content."""
        found = {}
        for path in sorted(pathlib.Path(folder).rglob("*")):
            names = self.find(str(path).encode() + (b"\n" + path.read_bytes() if path.is_file() else b""))
            if names:
                found[str(path)] = names
        return found


class ProcessSampler:
    """Command lines and environments of all processes, sampled until the context is left."""

    INTERVAL_SECONDS = 0.02

    def __init__(self):
        self.cmdlines, self.environs = set(), set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def sample(self):
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                cmdline = (process / "cmdline").read_bytes()
                self.cmdlines.add(cmdline)
                # With the command line in front, which says whose it is.
                self.environs.add(cmdline + b"\0\0" + (process / "environ").read_bytes())
            except OSError:
                continue    # gone meanwhile

    def _run(self):
        while not self._end.wait(self.INTERVAL_SECONDS):
            self.sample()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()
        self.sample()
