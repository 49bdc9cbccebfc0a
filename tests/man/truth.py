# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the programs know, read from their own tables: commands, options, keys, PAM options, methods and errors.

The man pages and the shell completions are held against this. Everything is read from the tables that the programs
themselves work by, not from texts about them; each reader fails when it finds nothing, so that a table that was moved or
rewritten cannot make the tests agree with emptiness."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A row of an option table: { "as", OPTION_TEXT }
OPTION_ROW = re.compile(r'\{\s*"([a-z-]+)",\s*OPTION_(FLAG|TEXT|LIST)\s*\}')
TABLE = re.compile(r"^(?:static )?const (\w+) (\w+)\[\] = \{(.*?)\};", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^const Command command_\w+ = \{(.*?)^\};", re.MULTILINE | re.DOTALL)
GETOPT_ROW = re.compile(r'\{\s*"([a-z-]+)",\s*(no|required)_argument,')


def found(things, where):
    assert things, f"nothing was found in {where}: its tables look different than this reader thinks"
    return things


def text(path):
    return (ROOT / path).read_text()


def tables(source, kind):
    return {name: body for type_name, name, body in TABLE.findall(source) if type_name == kind}


def option_rows(body):
    """{name: takes a value}"""
    return {name: kind != "FLAG" for name, kind in OPTION_ROW.findall(body)}


def global_options():
    """Of vaultctl: the options that every command takes."""
    return found(option_rows(tables(text("client/arguments.c"), "Option")["global_options"]), "client/arguments.c")


def commands():
    """{"session start": {option: takes a value}}, in the order of --help."""
    by_name, names_of = {}, {}
    for path in sorted((ROOT / "client").glob("*.c")):
        source = path.read_text()
        options = tables(source, "Option")
        for body in COMMAND.findall(source):
            name = re.search(r'\.name = "([^"]+)"', body).group(1)
            table = re.search(r"\.options = (\w+)", body)
            by_name[name] = found(option_rows(options[table.group(1)]), path) if table else {}
        for variable, name in re.findall(r'^const Command (command_\w+) = \{\s*\.name = "([^"]+)"', source, re.MULTILINE):
            names_of[variable] = name
    rows = re.findall(r"&(command_\w+),", text("client/command.c"))
    assert sorted(names_of[row] for row in rows) == sorted(by_name), "a command without a row, or the reverse"
    return {names_of[row]: by_name[names_of[row]] for row in found(rows, "client/command.c")}


def exit_codes():
    """{3: "NOT_CONNECTED"}"""
    rows = re.findall(r"EXIT_CODE_(\w+) = (\d+)", text("client/context.h"))
    return {int(number): name for name, number in found(rows, "client/context.h")}


def exit_code_of_errors():
    """{"io.vaultd.NotConnected": 3}, of those that vaultctl does not just call failed."""
    numbers = {name: number for number, name in exit_codes().items()}
    rows = re.findall(r'\{ "([\w.]+)", EXIT_CODE_(\w+),', text("client/fault.c"))
    return {error: numbers[code] for error, code in found(rows, "client/fault.c")}


def client_errors():
    """{"io.vaultd.client.Usage": {2}}: names that vaultctl makes, and the exit codes it gives with them."""
    numbers = {name: number for number, name in exit_codes().items()}
    errors = {}
    for path in sorted((ROOT / "client").glob("*.c")):
        for code, error in re.findall(r'EXIT_CODE_(\w+),\s*"(io\.vaultd\.client\.\w+)"', path.read_text()):
            errors.setdefault(error, set()).add(numbers[code])
    return found(errors, "client/*.c")


def getopt_options(path):
    """{"state-dir": takes a value}"""
    return {name: kind == "required" for name, kind in found(GETOPT_ROW.findall(text(path)), path)}


def configuration():
    """{"Platform": ["Url", …]}, the sections of vaultd.conf, services.d and policy.d."""
    sections = {}
    for path in sorted((ROOT / "policy").glob("*.c")):
        source = path.read_text()
        keys = {name: re.findall(r'KEY\("(\w+)",', body) for name, body in tables(source, "KeyRule").items()}
        for body in tables(source, "SectionRule").values():
            for section, table in re.findall(r'\{ "(\w+)", (\w+), ELEMENTSOF', body):
                sections[section] = found(keys[table], path)
    return found(sections, "policy/*.c")


def shipped_values():
    """{("Platform", "Url"): "https://…"}: what the commented-out lines of the shipped vaultd.conf say."""
    values, section = {}, None
    for line in text("policy/vaultd.conf").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif match := re.fullmatch(r"#(\w+)=(.+)", line):
            values[section, match.group(1)] = match.group(2)
    return found(values, "policy/vaultd.conf")


def pam_options():
    """{"socket": takes a value}"""
    source = text("pam_module/options.c")
    options = {name: True for name in re.findall(r'startswith\(argument, "(\w+)="\)', source)}
    options.update({name: False for name in re.findall(r'streq\(argument, "(\w+)"\)', source)})
    return found(options, "pam_module/options.c")


def interfaces():
    """{"io.vaultd.Connect": {"methods": {"Cancel": "flow"}, "errors": […]}}; parameters as "service label?"."""
    result = {}
    for path in sorted((ROOT / "daemon/api").glob("*.varlink")):
        source = re.sub(r"#.*", "", path.read_text())
        name = re.search(r"^interface (\S+)", source, re.MULTILINE).group(1)
        methods = {}
        for method, parameters in found(re.findall(r"^method (\w+)\s*\(([^)]*)\)", source, re.MULTILINE), path):
            pairs = re.findall(r"(\w+):\s*(\??)", parameters)
            methods[method] = ", ".join(parameter + mark for parameter, mark in pairs)
        result[name] = {"methods": methods, "errors": re.findall(r"^error (\w+)", source, re.MULTILINE)}
    return found(result, "daemon/api")


def journal_fields():
    fields = set()
    for path in ("daemon/audit/audit.c", "daemon/api/history.c"):
        fields |= set(found(re.findall(r'"(VAULTD_[A-Z_]+)"', text(path)), path))
    return fields
