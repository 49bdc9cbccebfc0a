# SPDX-License-Identifier: LGPL-2.1-or-later
"""Asks bash, zsh and fish what they would offer at the end of a command line, each the way it works at a prompt.

bash: the completion function with the COMP_ variables that readline sets. fish: complete -C. zsh has no way to ask, so a zsh on
a pseudo-terminal gets the line and a Tab, and what reaches compadd, through which all of its matches go, is noted."""

import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parents[2] / "completions"

BASH = r"""
. /usr/share/bash-completion/bash_completion
while IFS= read -r COMP_LINE; do
        # As readline cuts words: at blanks, and at "=" which is a word of its own.
        read -r -a COMP_WORDS <<<"${COMP_LINE//=/ = }"
        [[ $COMP_LINE != *[\ =] ]] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_POINT=${#COMP_LINE} COMP_TYPE=9 COMP_KEY=9 COMPREPLY=()
        # The loader of bash-completion finds the file by the command's name, as at the first Tab.
        [[ $(type -t _vaultctl) == function ]] || _completion_loader vaultctl
        _vaultctl vaultctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}" ---
done
"""

FISH = r"""
set fish_complete_path $COMPLETIONS
while read -l line
        complete -C $line
        echo ---
end
"""

ZSH = r"""
PS1= LISTMAX=10000
unset zle_bracketed_paste
unsetopt list_beep beep always_last_prompt
fpath=($COMPLETIONS $fpath)
autoload -Uz compinit && compinit -u -D
compadd() {
        local vaultctl_test_word
        local -a vaultctl_test_hits
        for vaultctl_test_word; do
                case $vaultctl_test_word in
                -|--) break ;;
                # A call that only fills arrays adds no match.
                -[OAD]) builtin compadd "$@"; return ;;
                esac
        done
        builtin compadd -O vaultctl_test_hits "$@"
        print -rl -- $vaultctl_test_hits >>$HITS
        builtin compadd "$@"
}
finish() { print -r -- --- >>$HITS; zle kill-buffer }
zle -N finish
# From here on keys are read one by one; before, the terminal itself would have a say in them.
zle-line-init() { [[ -e $HITS ]] || : >$HITS }
zle -N zle-line-init
bindkey '^I' complete-word
bindkey "^X^F" finish
"""


def _split(output):
    """One set for each line that was asked about."""
    parts = output.split("---\n")
    assert parts.pop().strip() == "", "the shell said something behind the last answer"
    return [{word.split("\t")[0].strip() for word in part.splitlines() if word.strip()} for part in parts]


def _run(command, lines, env, timeout):
    result = subprocess.run(command, input="".join(line + "\n" for line in lines), env=env, capture_output=True, text=True,
                            check=False, timeout=timeout)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    return _split(result.stdout)


def bash(lines, env, timeout):
    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory, "completions")
        folder.mkdir()
        (folder / "vaultctl").symlink_to(HERE / "vaultctl.bash")
        return _run(["bash", "--norc", "-c", BASH], lines, {**env, "BASH_COMPLETION_USER_DIR": directory}, timeout)


def fish(lines, env, timeout):
    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory, "completions")
        folder.mkdir()
        (folder / "vaultctl.fish").symlink_to(HERE / "vaultctl.fish")
        env = {**env, "COMPLETIONS": str(folder), "HOME": directory, "XDG_CONFIG_HOME": directory, "XDG_DATA_HOME": directory}
        answers = _run(["fish", "--no-config", "-c", FISH], lines, env, timeout)
    # fish offers --server=X whole.
    return [{re.sub(r"^--\w+=", "", word) if line.split()[-1].startswith("--") and "=" in line.split()[-1] else word for word in answer}
            for line, answer in zip(lines, answers)]


class _Terminal:
    def __init__(self, command, env):
        self.output = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, env)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)

    def wait_for(self, condition, timeout):
        """Reads on, so that the shell never has to wait for us."""
        deadline = time.monotonic() + timeout
        while not condition():
            if select.select([self.fd], [], [], 0.02)[0]:
                self.output += os.read(self.fd, 65536)
            if time.monotonic() > deadline:
                raise AssertionError(f"zsh did not come to an end; its screen has {self.output!r}")


def zsh(lines, env, timeout):
    with tempfile.TemporaryDirectory() as directory:
        hits, start = pathlib.Path(directory, "hits"), pathlib.Path(directory, "start")
        folder = pathlib.Path(directory, "completions")
        folder.mkdir()
        (folder / "_vaultctl").symlink_to(HERE / "_vaultctl")
        start.write_text(ZSH)
        env = {**env, "COMPLETIONS": str(folder), "HITS": str(hits), "TERM": "dumb", "HOME": directory}
        with _Terminal(["zsh", "-f", "-i"], env) as terminal:
            os.write(terminal.fd, f"source {start}\n".encode())
            terminal.wait_for(hits.exists, timeout)
            for number, line in enumerate(lines, 1):
                os.write(terminal.fd, line.encode() + b"\t\x18\x06")
                terminal.wait_for(lambda: hits.read_text().count("---\n") == number, timeout)
            return _split(hits.read_text())


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
