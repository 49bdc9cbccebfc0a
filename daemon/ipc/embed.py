#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes a text file as C string literals, one a line: embed.py INPUT OUTPUT."""
import sys


def literal(line):
    escaped = "".join("\\" + c if c in '\\"' else c if " " <= c <= "~" else "".join(f"\\{b:03o}" for b in c.encode()) for c in line)
    return f'"{escaped}\\n"\n'


with open(sys.argv[1], encoding="utf-8") as source, open(sys.argv[2], "w", encoding="utf-8") as target:
    target.writelines(literal(line.rstrip("\n")) for line in source)
