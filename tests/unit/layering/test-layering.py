#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Includes point one way: util <- json <- identity <- {ipc, store, http, policy} <- audit <- {oauth, platform} <- api <- main.

Folders of the same rank do not include each other. vaultctl, the PAM module, vaultd-web and vaultd-accounts stand beside the daemon's
layers and see util and json only. Usage: test-layering.py SOURCE-ROOT; speaks TAP. The rules are first tried on small trees
with a planted include, so that a checker that sees nothing cannot pass.
"""

import pathlib
import re
import sys
import tempfile

# From the bottom up; each rank may include what stands below it.
RANKS = [{"util"}, {"json"}, {"identity"}, {"ipc", "store", "http", "policy"}, {"audit"}, {"oauth", "platform"}, {"api"}, {"main"}]
LAYERS = {name: set().union(*RANKS[:rank]) for rank, names in enumerate(RANKS) for name in names}
APART = {"web": {"util", "json"}, "client": {"util", "json"}, "pam_module": {"util", "json"}, "accounts": {"util", "json"}}
ALLOWED = {name: below | {name} for name, below in (LAYERS | APART).items()}
# Where a layer's files are; main is what lies in daemon/ itself.
FOLDERS = {"policy": "policy", "client": "client", "pam_module": "pam_module", "main": "daemon"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*["<]([^">]+)[">]', re.MULTILINE)


def folder_of(layer):
    return FOLDERS.get(layer, f"daemon/{layer}")


def sources(root, layer):
    return sorted(path for path in (root / folder_of(layer)).glob("*") if path.suffix in (".c", ".h") and path.is_file())


def target_of(root, path, name):
    """The layer that an include leads to; None for the system's headers and for the file's own folder."""
    # A way around by ".." is followed to where it ends; generated texts are named from the top of the build.
    for start in (path.parent, root / "daemon", root):
        file = (start / name).resolve()
        if start is path.parent and "/" not in name and file.exists():
            return None
        for layer in ALLOWED:
            if file.parent == (root / folder_of(layer)).resolve() and (file.exists() or file.suffix == ".inc"):
                return layer
    return None if not name.startswith(("daemon/", "../")) and name.split("/")[0] not in ALLOWED else name


def faults(root):
    """Texts, one for each include that points the wrong way."""
    root = pathlib.Path(root)
    found = []
    for layer, allowed in ALLOWED.items():
        for path in sources(root, layer):
            for name in INCLUDE.findall(path.read_text()):
                target = target_of(root, path, name)
                if target and target not in allowed:
                    found.append(f"{path.relative_to(root)} includes {name}: {layer} may not see {target}")
    known = {(root / folder_of(layer)).resolve() for layer in ALLOWED}
    for path in sorted(root.glob("daemon/*/*.c")):
        if path.parent.resolve() not in known:
            found.append(f"{path.relative_to(root)}: the folder has no rank")
    return found


def planted(file, include, others=("daemon/util/macro.h",)):
    """What the checker says of a small tree with one file that has one include."""
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name).resolve()
        for each in (*others, file):
            (root / each).parent.mkdir(parents=True, exist_ok=True)
            (root / each).write_text("")
        (root / file).write_text(f'#include <errno.h>\n{include}\n')
        return faults(root)


# (property, file, include line, what must exist, whether it is refused)
PLANTED = [
    ("upward", "daemon/util/a.c", '#include "json/object.h"', ["daemon/json/object.h"], True),
    ("upward-by-one", "daemon/store/a.c", '#include "audit/audit.h"', ["daemon/audit/audit.h"], True),
    ("upward-from-header", "daemon/json/a.h", '#include "identity/users.h"', ["daemon/identity/users.h"], True),
    ("upward-to-main", "daemon/api/a.c", '#include "../manager.h"', ["daemon/manager.h"], True),
    ("sibling", "daemon/oauth/a.c", '#include "platform/platform.h"', ["daemon/platform/platform.h"], True),
    ("sibling-outside-daemon", "policy/a.c", '#include "store/store.h"', ["daemon/store/store.h"], True),
    ("indented", "daemon/util/a.c", '\t#  include\t"json/object.h"', ["daemon/json/object.h"], True),
    ("angle-brackets", "daemon/util/a.c", "#include <json/object.h>", ["daemon/json/object.h"], True),
    ("from-the-top", "daemon/util/a.c", '#include "daemon/json/object.h"', ["daemon/json/object.h"], True),
    ("way-around", "daemon/ipc/a.c", '#include "../store/store.h"', ["daemon/store/store.h"], True),
    ("missing-file", "daemon/util/a.c", '#include "oauth/oauth.h"', [], True),
    ("web-sees-oauth", "daemon/web/a.c", '#include "oauth/oauth.h"', ["daemon/oauth/oauth.h"], True),
    ("client-sees-ipc", "client/a.c", '#include "ipc/server.h"', ["daemon/ipc/server.h"], True),
    ("pam-module-sees-identity", "pam_module/a.c", '#include "identity/users.h"', ["daemon/identity/users.h"], True),
    ("daemon-sees-client", "daemon/api/a.c", '#include "client/call.h"', ["client/call.h"], True),
    ("daemon-sees-web", "daemon/api/a.c", '#include "web/html.h"', ["daemon/web/html.h"], True),
    ("folder-without-rank", "daemon/extra/a.c", "", [], True),
    ("downward", "daemon/api/a.c", '#include "util/macro.h"', [], False),
    ("downward-far", "daemon/oauth/a.c", '#include "policy/config.h"', ["policy/config.h"], False),
    ("own-folder", "daemon/web/a.c", '#include "html.h"', ["daemon/web/html.h"], False),
    ("own-layer", "daemon/store/a.c", '#include "store/store.h"', ["daemon/store/store.h"], False),
    ("own-generated-text", "daemon/api/a.c", '#include "daemon/api/io.vaultd.inc"', [], False),
    ("system", "daemon/util/a.c", "#include <systemd/sd-event.h>", [], False),
    ("client-sees-util", "client/a.c", '#include "util/macro.h"', [], False),
]


def main():
    results = [(f"planted-{name}-is-{'refused' if is_refused else 'allowed'}", bool(planted(file, line, ["daemon/util/macro.h", *others])) == is_refused)
               for name, file, line, others, is_refused in PLANTED]
    found = faults(sys.argv[1])
    results.append(("every-layer-was-read", all(sources(pathlib.Path(sys.argv[1]), layer) for layer in ALLOWED)))
    results.append(("includes-point-one-way", not found))
    print(f"1..{len(results)}")
    for number, (name, is_ok) in enumerate(results, 1):
        print(f"{'ok' if is_ok else 'not ok'} {number} - {name}")
    for text in found:
        print("# " + text)
    return 0 if all(is_ok for _, is_ok in results) else 1


if __name__ == "__main__":
    sys.exit(main())
