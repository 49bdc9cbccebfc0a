#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""One URL parser (V8, T18): outside of util/url.c no code of the daemon takes an address apart or compares one by its text.

Two readers of one address that disagree about a byte are how a credential gets to a look-alike. What is looked for is a call
that compares, searches or splits with a literal that has "://" in it; making such a text is fine. The exceptions are listed with
the reason, and one that is not needed any more is a fault too. vaultctl and vaultd-web are apart: they hold no credential and may
not link libcurl; what they do with addresses is to show them."""

import pathlib
import re
import sys
import tempfile

READERS = re.compile(r'\b(startswith|endswith|str(?:n?case)?(?:n)?cmp|strn?casecmp|strstr|strcasestr|strchr|strspn|strcspn|strtok_?r?|sscanf|'
                     r'mem(?:cmp|mem)|streq(?:_ptr)?|fnmatch|regexec)\s*\((?:[^;()]|\([^;()]*\))*?"[^"\n]*://', re.DOTALL)
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
PARSER = "daemon/util/url.c"
# File → why it may: how many such calls it has.
ALLOWED = {
    "daemon/oauth/registration.c": (1, "our own redirect address, which we wrote ourselves"),
}


def readers(path):
    source = COMMENT.sub("", path.read_text())
    return [match.group(1) for statement in source.split(";") for match in READERS.finditer(statement)]


def faults(root, allowed):
    found = []
    for folder in ("daemon", "policy"):
        for path in sorted((root / folder).rglob("*.[ch]")):
            name = str(path.relative_to(root))
            if name == PARSER or name.startswith("daemon/web/"):
                continue
            n = len(readers(path))
            if n != allowed.get(name, (0, ""))[0]:
                found.append(f"{name}: {n} calls that read an address by its text, {allowed.get(name, (0, ''))[0]} are known")
    return found


def planted(line, name="daemon/oauth/a.c"):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text(line + "\n")
        return faults(root, {})


PLANTED = [
    ("prefix", 'if (startswith(url, "https://"))', True),
    ("prefix-of-a-host", 'if (strncmp(url, "https://mcp.notion.com", 22) == 0)', True),
    ("any-case", 'if (strncasecmp(url, "https://", 8) == 0)', True),
    ("search", 'p = strstr(url, "://");', True),
    ("split", 'n = sscanf(url, "https://%255[^/]", host);', True),
    ("over-two-lines", 'if (streq(url,\n                "https://a.test/"))', True),
    ("of-a-call", 'if (startswith(text_of(url), "https://"))', True),
    ("made", 'asprintf(&url, "https://%s/", host);', False),
    ("in-a-comment", '/* startswith(url, "https://") */', False),
    ("beside-a-comparison", 'return streq(url.path, "/") ? 0 : expect(expected, "an origin: https://host")', False),
    ("something-else", 'if (startswith(name, "user:"))', False),
]


def main():
    root = pathlib.Path(sys.argv[1])
    results = [(f"planted-{name}-is-{'found' if is_found else 'allowed'}", bool(planted(line)) == is_found) for name, line, is_found in PLANTED]
    results.append(("the-parser-itself-is-left-out", not planted(PLANTED[0][1], PARSER)))
    results.append(("the-parser-is-there", "curl_url_set" in (root / PARSER).read_text()))
    found = faults(root, ALLOWED)
    results.append(("one-parser-reads-addresses", not found))
    print(f"1..{len(results)}")
    for number, (name, is_ok) in enumerate(results, 1):
        print(f"{'ok' if is_ok else 'not ok'} {number} - {name}")
    for text in found:
        print("# " + text)
    return 0 if all(is_ok for _, is_ok in results) else 1


if __name__ == "__main__":
    sys.exit(main())
