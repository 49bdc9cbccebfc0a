# SPDX-License-Identifier: LGPL-2.1-or-later
"""The man pages are whole and true: what the programs know stands in its page, and no page names what does not exist.

The pages are read as mandoc(1) renders them, since that is what people read; what the programs know comes from truth.py.
The examples are tried: command lines are given to vaultctl, configuration to vaultd, Python to Python."""

import json
import os
import pathlib
import re
import shlex
import socket
import stat
import subprocess
import sys
import threading

import pytest

import truth

PAGES = {path.name: path for path in sorted((truth.ROOT / "man").glob("*.[1-8]"))}
BUILD = pathlib.Path(os.environ.get("VAULTD_BUILD") or truth.ROOT / "build" / "check-gcc")
VAULTCTL = str(BUILD / "client" / "vaultctl")
VAULTD = str(BUILD / "daemon" / "vaultd")
VAULTD_WEB = str(BUILD / "daemon" / "web" / "vaultd-web")
# Options and keys of other people's programs that our pages mention.
FOREIGN_KEYS = {"FileDescriptorName", "PrivateUsers", "ExecStart", "ListenStream", "Key"}
FOREIGN_OPTIONS = {"pam-auth-update": {"enable"}}
FOREIGN_PAGES = {"ssh(1)", "xdg-open(1)", "su(1)", "login(1)", "sudo(8)", "systemd(1)", "systemd-creds(1)", "varlinkctl(1)", "sd_listen_fds(3)",
                 "sd_notify(3)", "sd_watchdog_enabled(3)", "pam.conf(5)", "login.defs(5)", "unix(7)", "pam-auth-update(8)",
                 "pam_loginuid(8)", "sshd(8)", "chage(1)", "shadow(5)", "usermod(8)", "passwd(5)"}


def render(page):
    """The page as text, no line broken and nothing overstruck."""
    output = subprocess.run(["mandoc", "-Tutf8", "-Owidth=998", PAGES[page]], check=True, capture_output=True, text=True).stdout
    while "\b" in output:
        output = re.sub(r".\x08", "", output)
    return output


@pytest.fixture(scope="module")
def pages():
    return {page: render(page) for page in PAGES}


def section(text, name):
    """A section (.Sh) with its subsections."""
    match = re.search(rf"^{re.escape(name)}\n(.*?)(?=^\S)", text + "\nEND", re.MULTILINE | re.DOTALL)
    assert match, f"there is no section {name}"
    return match.group(1)


def subsections(text):
    """{title: text}; titles are indented by three blanks, all text by more."""
    parts = re.split(r"^   (?! )(\S.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def entries(text, indent=5):
    """{tag: body} of a tagged list whose tags have this indent; a short tag has its body behind it on the same line.
    Paragraphs of the same indent are told apart by their end."""
    result, tag = {}, None
    for line in text.splitlines():
        match = re.match(rf" {{{indent}}}(\S(?:\S| (?! ))*)(?:  +(.*))?$", line)
        if match and re.search(r"(?<!\.\.)[.:]$", match.group(1)):
            tag = None
        elif match:
            tag = match.group(1)
            result[tag] = (match.group(2) or "") + "\n"
        elif tag and line.startswith(" " * (indent + 1)):
            result[tag] += line + "\n"
        elif line.strip():
            tag = None
    return result


def options_of(text, indent=5):
    """{option: takes a value} of a list of options."""
    options = {}
    for tag in entries(text, indent):
        for match in re.finditer(r"--([a-z-]+)( [A-Z]\S*)?", tag):
            options[match.group(1)] = bool(match.group(2))
    return options


def examples(page):
    """The displays of a page, with roff's escapes taken back."""
    source = PAGES[page].read_text()
    displays = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", source, re.MULTILINE | re.DOTALL)
    return [display.replace("\\e", "\\").replace("\\&", "") for display in displays]


def example_lines():
    """Command lines of the displays of all pages that run vaultctl."""
    lines = []
    for page in PAGES:
        for display in examples(page):
            lines += [(page, line) for line in display.replace("\\\n", " ").splitlines() if re.match(r"(\w+=\S+ )?vaultctl ", line)]
    return lines


def test_every_page_of_the_project_is_there():
    assert set(PAGES) == {"vaultctl.1", "vaultd.conf.5", "vaultd-protocol.7", "pam_vaultd.8", "vaultd.8", "vaultd-web.8"}
    build = truth.text("man/meson.build")
    for page in PAGES:
        assert f"'{page}'" in build, "a page that is not installed"
    for unit in sorted((truth.ROOT / "systemd").iterdir()):
        for name, number in re.findall(r"man:([\w.-]+)\((\d)\)", unit.read_text()):
            assert f"{name}.{number}" in PAGES, f"{unit.name} documents itself by a page that does not exist"


@pytest.mark.parametrize("page", PAGES)
def test_page_has_no_fault_of_form(page):
    # groff has no say in mandoc's "STYLE", nor mandoc in man's warnings: both have to be content.
    lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning", PAGES[page]], capture_output=True, text=True, check=False)
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")
    man = subprocess.run(["man", "--warnings", "-l", "-Tutf8", "-Z", PAGES[page]], capture_output=True, text=True, check=False,
                         env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"})
    assert (man.returncode, man.stderr) == (0, "")
    source = PAGES[page].read_text()
    assert source.startswith('.\\" SPDX-License-Identifier: LGPL-2.1-or-later\n')
    assert source.isascii()


@pytest.mark.parametrize("page", PAGES)
def test_page_has_its_sections(page, pages):
    for name in ("NAME", "SYNOPSIS", "DESCRIPTION", "FILES", "EXAMPLES", "SEE ALSO"):
        assert section(pages[page], name).strip()
    assert section(pages[page], "RESULTS" if page.startswith("pam_") else "EXIT STATUS").strip()


@pytest.mark.parametrize("page", PAGES)
def test_references_lead_somewhere(page):
    for name, number in re.findall(r"^\.Xr (\S+) (\d)", PAGES[page].read_text(), re.MULTILINE):
        assert f"{name}.{number}" in PAGES or f"{name}({number})" in FOREIGN_PAGES, f"{name}({number})"


def test_vaultctl_has_every_command_with_its_options(pages):
    described = {}
    for tag, body in entries(section(pages["vaultctl.1"], "COMMANDS")).items():
        name = re.match(r"[a-z]+(?: [a-z-]*[a-z])?(?= |$)", tag).group(0)
        described[name] = options_of(body, indent=13)
    assert described == truth.commands()


def test_vaultctl_shows_the_words_of_each_command(pages):
    """As in the synopsis of --help, but for options that may be left out: these are described one by one."""
    for tag in entries(section(pages["vaultctl.1"], "COMMANDS")):
        name = re.match(r"[a-z]+(?: [a-z-]*[a-z])?(?= |$)", tag).group(0)
        usage = subprocess.run([VAULTCTL, *name.split(), "--help"], capture_output=True, text=True, check=True).stdout
        synopsis = re.search(r"^Usage: vaultctl (.*)$", usage, re.MULTILINE).group(1)
        words = re.sub(r" ?\[(--[^\]]*|OPTIONS)\]…?", "", synopsis).strip()
        assert tag in (synopsis, words, words + " [OPTION ...]")


def test_vaultctl_has_the_options_of_every_command(pages):
    assert options_of(section(pages["vaultctl.1"], "DESCRIPTION")) == truth.global_options()


def test_vaultctl_has_every_exit_code(pages):
    assert {int(tag) for tag in entries(section(pages["vaultctl.1"], "EXIT STATUS"))} == set(truth.exit_codes())


def test_vaultctl_has_every_error_of_its_own_with_its_exit_code(pages):
    described = {tag: {int(number) for number in re.findall(r"Exit status (\d)", body)}
                 for tag, body in entries(section(pages["vaultctl.1"], "DIAGNOSTICS")).items()}
    assert described == truth.client_errors()


@pytest.mark.parametrize("page,program,source", [("vaultd.8", VAULTD, "daemon/main.c"), ("vaultd-web.8", VAULTD_WEB, "daemon/web/main.c")])
def test_daemons_have_every_option(page, program, source, pages):
    described = options_of(section(pages[page], "OPTIONS"))
    described = {name: takes or name == "listen" for name, takes in described.items()}
    assert described == truth.getopt_options(source)
    help_text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"(?<![\w-])--([a-z-]+)", help_text)) == set(described)


def test_configuration_has_every_key(pages):
    text = pages["vaultd.conf.5"]
    described = {}
    for part, names in (("VAULTD.CONF", None), ("SERVICES.D", {"Service"}), ("POLICY.D", {"Server"})):
        for title, body in subsections(section(text, part)).items():
            name = re.fullmatch(r"\[(\w+)( NAME)?\]", title).group(1)
            assert (names is None) == (name not in ("Service", "Server"))
            described[name] = [key for tag in entries(body) for key in re.findall(r"(\w+)=", tag)]
    known = truth.configuration()
    assert {name: sorted(keys) for name, keys in described.items()} == {name: sorted(keys) for name, keys in known.items()}


def test_defaults_are_those_that_the_shipped_file_shows(pages):
    parts = subsections(section(pages["vaultd.conf.5"], "VAULTD.CONF"))
    for (name, key), value in truth.shipped_values().items():
        body, = [body for tag, body in entries(parts[f"[{name}]"]).items() if f"{key}=" in tag]
        assert re.search(rf"(?<![\w.]){re.escape(value)}(?![\w])", body), f"{key}= does not name {value}"


def test_pam_module_has_every_option(pages):
    described = {tag.split("=")[0]: "=" in tag for tag in entries(section(pages["pam_vaultd.8"], "OPTIONS"))}
    assert described == truth.pam_options()
    synopsis = section(pages["pam_vaultd.8"], "SYNOPSIS")
    assert set(re.findall(r"\[(\w+)", synopsis)) == set(described)
    for word in re.findall(r"(?<![\w-])([a-z]+)=", pages["pam_vaultd.8"]):
        assert described.get(word), f"{word}="
    for line in re.findall(r"pam_vaultd\.so (.+)", "\n".join(examples("pam_vaultd.8"))):
        assert {word.split("=")[0]: "=" in word for word in line.split()}.items() <= described.items()


def test_protocol_has_every_method_with_its_parameters(pages):
    described = {}
    for name, body in subsections(section(pages["vaultd-protocol.7"], "INTERFACES")).items():
        described[name] = dict(re.fullmatch(r"(\w+)\((.*)\)", tag).groups() for tag in entries(body))
    assert described == {name: interface["methods"] for name, interface in truth.interfaces().items()}


def test_protocol_has_every_error_with_its_exit_code(pages):
    described = {}
    for tag in entries(section(pages["vaultd-protocol.7"], "ERROR NAMES")):
        name, number = re.fullmatch(r"([\w.]+) \((\d)\)", tag).groups()
        described[name] = int(number)
    codes = truth.exit_code_of_errors()
    known = {f"{name}.{error}": codes.get(f"{name}.{error}", 1)
             for name, interface in truth.interfaces().items() for error in interface["errors"]}
    assert described == known


def test_journal_fields_are_all_described(pages):
    tags = " ".join(entries(section(pages["vaultd.8"], "JOURNAL")))
    assert set(re.findall(r"VAULTD_[A-Z_]+", tags)) == truth.journal_fields()


@pytest.mark.parametrize("page", PAGES)
def test_page_names_no_option_that_does_not_exist(page, pages):
    known = set(truth.global_options()) | {option for options in truth.commands().values() for option in options}
    known |= set(truth.getopt_options("daemon/main.c")) | set(truth.getopt_options("daemon/web/main.c"))
    for line in pages[page].splitlines():
        foreign = {option for program, options in FOREIGN_OPTIONS.items() if program in line for option in options}
        for option in re.findall(r"(?<![\w-])--([a-z][a-z-]*)", line):
            assert option in known | foreign, line.strip()


@pytest.mark.parametrize("page", PAGES)
def test_page_names_no_key_that_does_not_exist(page, pages):
    known = {key for keys in truth.configuration().values() for key in keys} | FOREIGN_KEYS
    for key in re.findall(r"(?<![\w-])([A-Z][a-z]\w*)=", pages[page]):
        assert key in known, f"{key}="


@pytest.mark.parametrize("page", PAGES)
def test_page_names_no_command_that_does_not_exist(page):
    commands = truth.commands()
    groups = {name.split()[0] for name in commands if " " in name}
    source = re.sub(r"^\.Bd.*?^\.Ed$", "", PAGES[page].read_text(), flags=re.MULTILINE | re.DOTALL)
    # Commands are marked as such, so that they can be told from prose about the program.
    assert not [line for line in source.splitlines() if not line.startswith(".") and "vaultctl " in line]
    mentioned = re.findall(r"^\.Ic vaultctl (?!--)([a-z]+)(?: ([a-z-]*[a-z]))?", source, re.MULTILINE)
    if page == "vaultctl.1":
        mentioned += re.findall(r"^\.Ic ([a-z]{2,})(?<!vaultctl)(?: ([a-z-]*[a-z]))?\b", source, re.MULTILINE)
    for first, second in mentioned:
        assert first in commands or (first in groups and f"{first} {second}" in commands), f"vaultctl {first} {second}"


@pytest.mark.parametrize("page", PAGES)
def test_page_names_no_method_error_or_field_that_does_not_exist(page, pages):
    known = set(truth.client_errors()) | set(truth.interfaces())
    for name, interface in truth.interfaces().items():
        known |= {f"{name}.{word}" for word in [*interface["methods"], *interface["errors"]]}
    # Sockets have names of the same shape.
    text = re.sub(r"/run/vaultd/[\w.]+", "", pages[page])
    for name in re.findall(r"(?:io\.vaultd|org\.varlink)(?:\.\w+)*", text):
        assert name in known or name == "io.vaultd", name
    for field in re.findall(r"VAULTD_[A-Z_]+", text):
        assert field in truth.journal_fields() | {"VAULTD_SOCKET"}, field


def test_sockets_are_those_of_the_build(pages):
    build = truth.text("meson.build")
    known = set(re.findall(r"'VAULTD_SOCKET_\w+', '([^']+)'", build))
    assert len(known) == 3
    for text in pages.values():
        assert set(re.findall(r"/run/vaultd/io[\w.]*\w", text)) <= known
    assert set(re.findall(r"/run/vaultd/io[\w.]*\w", section(pages["vaultd-protocol.7"], "FILES"))) == known


@pytest.mark.parametrize("page,line", example_lines())
def test_examples_are_command_lines_that_vaultctl_takes(page, line):
    """With nobody to talk to they fail, but not for their form."""
    words = shlex.split(line)
    if "=" in words[0]:
        words = words[1:]
    result = subprocess.run([VAULTCTL, *words[1:]], input="K7QF-2M9X\n", capture_output=True, text=True, check=False, timeout=20,
                            env={"PATH": os.environ["PATH"], "VAULTD_SOCKET": "/nonexistent/io.vaultd"})
    assert result.returncode == (1 if words[1] == "doctor" else 5), result.stderr


def read_configuration(directory, files):
    """What vaultd says about configuration: its lines on stderr. It gets no key, so it never goes further than that."""
    for name, content in files.items():
        path = directory / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for path in [directory / "etc", *(directory / "etc").rglob("*")]:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o022)
    result = subprocess.run([VAULTD, "--trust-owner", "--config-dir", directory / "etc", "--vendor-dir", directory / "none",
                             "--state-dir", directory, "--runtime-dir", directory, "--kek-file", directory / "no-key"],
                            capture_output=True, text=True, check=False, timeout=20)
    assert result.returncode == 1
    return result.stderr


def test_example_configuration_is_what_vaultd_reads(tmp_path):
    files = {}
    for display in examples("vaultd.conf.5"):
        match = re.match(r"# (\S+)\n", display)
        assert match, "an example that does not say which file it is"
        files[match.group(1)] = display
    assert set(files) == {"vaultd.conf", "services.d/gitlab.conf", "policy.d/50-gitlab.conf", "services.d/github-cli.conf",
                          "policy.d/60-readers.conf"}
    said = read_configuration(tmp_path, files)
    assert "no-key" in said and "the configuration" not in said, said
    files["vaultd.conf"] += "Nonsense=1\n"
    assert "unknown key 'Nonsense'" in read_configuration(tmp_path, files)


def test_example_for_the_web_pages_is_what_the_programs_read(tmp_path):
    displays = examples("vaultd-web.8")
    said = read_configuration(tmp_path, {"vaultd.conf": displays[0]})
    assert "no-key" in said and "the configuration" not in said, said
    command = re.findall(r"^ExecStart=(\S+vaultd-web.*)$", displays[1].replace("\\\n", " "), re.MULTILINE)[0]
    # Whatever it is given it stops at the missing socket, and not before, at its options.
    result = subprocess.run([VAULTD_WEB, *shlex.split(command)[1:]], capture_output=True, text=True, check=False, timeout=20)
    assert result.returncode == 1 and "no socket was handed over" in result.stderr


def test_example_options_of_the_daemon_exist():
    for display in examples("vaultd.8"):
        for option in re.findall(r"(?<![\w-])--([a-z-]+)", display):
            assert option in truth.getopt_options("daemon/main.c")


def test_example_messages_are_messages():
    documents = [json.loads(line) for display in examples("vaultd-protocol.7") for line in display.splitlines() if line.startswith("{")]
    assert [list(document)[0] for document in documents] == ["method", "parameters", "error"]


def test_example_in_python_makes_a_call(tmp_path):
    program, = [display for display in examples("vaultd-protocol.7") if display.startswith("import ")]
    path = str(tmp_path / "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    received = []

    def serve():
        connection, _ = listener.accept()
        with connection:
            received.append(connection.recv(4096))
            connection.sendall(b'{"parameters":{"uid":1000}}\0')

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    result = subprocess.run([sys.executable, "-c", program.replace("/run/vaultd/io.vaultd", path)], capture_output=True, text=True,
                            check=True, timeout=20)
    thread.join(10)
    listener.close()
    assert received[0].endswith(b"\0") and json.loads(received[0][:-1]) == {"method": "io.vaultd.WhoAmI"}
    assert '"uid":1000' in result.stdout


def test_help_says_where_the_manual_is():
    help_text = subprocess.run([VAULTCTL, "--help"], capture_output=True, text=True, check=True).stdout
    assert "man vaultctl" in help_text
