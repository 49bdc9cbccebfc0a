# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table of guards names what is there. That each guard is held by its tests takes longer: tests/guards/run."""

import dataclasses
import pathlib

import table

IDS = {f"T{n}" for n in (1, 2, 3, 4, 5, 6, 7, 12, 13, 25, 26, 28, 29, 34, 38)} | {f"I{n}" for n in range(1, 10)}


def test_every_row_finds_its_guard_once_and_its_tests():
    assert table.faults(table.load()) == []


def test_every_threat_and_requirement_of_the_caller_has_a_row():
    assert IDS - {each for guard in table.load() for each in guard.ids} == set()


def test_a_row_that_has_rotted_is_a_fault():
    row = table.load()[0]
    for change in ({"guard": "this text is nowhere"}, {"guard": "\n"}, {"file": "daemon/no-such-file.c"}, {"tests": ["tests/no-such-file.c::x"]}, {"without": row.guard},
                   {"tests": [row.tests[0] + "_no_more"]}, {"tests": []}, {"ids": []}, {"ids": ["2"]}):
        assert table.faults([dataclasses.replace(row, **change)]) != [], change
    assert table.faults([row, row]) != []


def test_words_choose_rows():
    rows = table.load()
    assert table.select(rows, []) == rows
    assert table.select(rows, [rows[0].name]) == [rows[0]]
    assert {"T2"} <= set(table.select(rows, ["T2"])[0].ids)
    assert pathlib.PurePath(table.select(rows, ["gate.c"])[0].file).name == "gate.c"
