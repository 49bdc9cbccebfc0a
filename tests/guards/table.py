# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads guards.toml: each guard of the code, how it looks when it is taken out, and the tests that must fail then.

A row whose text is not in the tree exactly once, or whose tests are not there, is a fault: the table cannot rot unseen.
"""

import dataclasses
import pathlib
import re
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parents[1]
TABLE = HERE / "guards.toml"


@dataclasses.dataclass(frozen=True)
class Guard:
    name: str           # unique, for the command line
    ids: list           # threats and requirements
    what: str           # one sentence: what the guard does
    file: str
    guard: str          # its text in the file, however that is laid out
    without: str        # what stands there when it is taken out
    tests: list         # FILE::NAME, each of which must fail then

    def apply(self, tree):
        """The file's text without the guard."""
        text = (tree / self.file).read_text()
        # Where lines end and how far they are indented is the formatter's.
        found = list(re.finditer(r"\s*".join(map(re.escape, re.findall(r"\w+|\S", self.guard))), text))
        if len(found) != 1:
            raise ValueError(f"{self.name}: the guard's text is {len(found)} times in {self.file}, not once")
        return text[:found[0].start()] + self.without + text[found[0].end():]


def load(path=TABLE):
    with open(path, "rb") as file:
        return [Guard(**row) for row in tomllib.load(file)["guard"]]


def faults(guards, tree=TREE):
    """What is wrong with the rows, as sentences; none when all is well."""
    found = [f"{name}: two rows have this name" for name in {each.name for each in guards if sum(other.name == each.name for other in guards) > 1}]
    for guard in guards:
        try:
            if guard.apply(tree) == (tree / guard.file).read_text():
                found.append(f"{guard.name}: nothing is taken out")
        except (OSError, ValueError) as error:
            found.append(str(error))
        if not guard.tests or not guard.ids or not guard.what:
            found.append(f"{guard.name}: ids, tests or the sentence are missing")
        for bad in guard.ids:
            if not re.fullmatch(r"[A-Z]\d+", bad):
                found.append(f"{guard.name}: {bad} is no id")
        found += [f"{guard.name}: there is no test {test}" for test in guard.tests if not has_test(test, tree)]
    return found


def has_test(test, tree=TREE):
    """FILE::NAME, or FILE::NAME[PARAMETERS] of pytest; FILE alone where the program is one test."""
    file, _, name = test.partition("::")
    path = tree / file
    if not path.is_file():
        return False
    if not name:
        return True
    text, name = path.read_text(), name.partition("[")[0]
    if file.endswith(".py"):
        return re.search(rf"^def {re.escape(name)}\(", text, re.MULTILINE) is not None
    # cmocka names a test after its function, or as its table says; the suite of JSON texts takes the names of its files.
    if name.endswith(".json"):
        return (tree / "tests/fuzz/corpus/json" / name).is_file()
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def select(guards, words):
    """The rows with one of the words as an id, a name or a part of the file's path; all without words."""
    if not words:
        return guards
    chosen = [each for each in guards if any(word in each.ids or word == each.name or word in each.file for word in words)]
    for word in words:
        if not any(word in each.ids or word == each.name or word in each.file for each in guards):
            raise ValueError(f"no guard has the id, name or file {word}")
    return chosen
