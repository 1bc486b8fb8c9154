"""Interactive shells with our completion loaded, in a terminal of their own.

    with Shell("bash", agnes) as shell:
        shell.complete("agnesfs mo")        -> "agnesfs mount ", the line after one Tab
        shell.choices("agnesfs mount --")   -> what the shell lists for more than one, as text

    fish_words(agnes, "agnesfs mo")     -> {"mount": "show a stack ..."}: fish says itself what Tab would offer
"""

import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import termios
from pathlib import Path

from tests.lib.agnesfs import BINARY, ROOT, wait_for

INSTALL = ROOT / "scripts/install"
SECONDS = 40

# The line under the cursor, as the shell has it, goes to a file at Ctrl-G: nothing
# else begins with it, so no shell waits for more. What zsh gathers at its start serves all tests.
START = {
    "bash": """
        bind 'set show-all-if-ambiguous on'
        bind 'set completion-query-items -1'
        bind 'set page-completions off'
        bind 'set bell-style none'
        bind 'set enable-bracketed-paste off'
        source {install}/agnesfs.bash
        _dump() {{ printf '%s' "$READLINE_LINE" >{out}.new; mv {out}.new {out}; }}
        bind -x '"\\C-g": _dump'
        PS1='ready> '
    """,
    "zsh": """
        fpath=({install} $fpath)
        autoload -Uz compinit && compinit -u -d {shared}
        LISTMAX=10000
        setopt no_beep
        _dump() {{ print -rn -- "$BUFFER" >{out}.new; mv {out}.new {out}; }}
        zle -N _dump
        bindkey '^G' _dump
        bindkey '^U' kill-whole-line
        PS1='ready> '
    """,
}
COMMAND = {"bash": ["bash", "--noprofile", "--norc", "-i"], "zsh": ["zsh", "-f", "-i"]}


def environment(agnes):
    """In which a shell finds agnesfs by its name."""
    programs = agnes.folder / "bin"
    programs.mkdir(exist_ok=True)
    if not (programs / "agnesfs").exists():
        (programs / "agnesfs").symlink_to(Path(BINARY).resolve())
    return dict(agnes.env, PATH=f"{programs}:{agnes.env['PATH']}")


class Shell:
    def __init__(self, name, agnes):
        self.out = agnes.folder / f"{name}-line"
        start = agnes.folder / f"{name}-start"
        start.write_text(START[name].format(
            install=INSTALL, out=self.out, shared=agnes.folder.parent / "compdump"))
        self.env = dict(environment(agnes), TERM="dumb")
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.chdir(agnes.home)
            os.execvpe(COMMAND[name][0], COMMAND[name], self.env)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 200, 200, 0, 0))
        self.seen = ""
        self._send(f". {start}\n")
        wait_for(lambda: "ready> " in self._read(), SECONDS, f"{name} is ready")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.terminal)  # which ends it: a terminal that hangs up
        wait_for(lambda: os.waitpid(self.child, os.WNOHANG)[0], SECONDS, "the shell has ended")

    def _send(self, text):
        os.write(self.terminal, text.encode())

    def _read(self):
        while select.select([self.terminal], [], [], 0)[0]:
            self.seen += os.read(self.terminal, 65536).decode(errors="replace")
        return self.seen

    def complete(self, line):
        self.out.unlink(missing_ok=True)
        self._read()
        self.seen = ""
        self._send(f"{line}\t\x07")
        wait_for(self.out.exists, SECONDS, "the line")
        found = self.out.read_text()
        self._send("\x15")
        return found

    def choices(self, line):
        self.complete(line)
        return self._read()


def fish_words(agnes, line):
    """{candidate: description} that fish offers for this line."""
    env = dict(environment(agnes), LINE=line)
    run = subprocess.run(
        [shutil.which("fish"), "--no-config", "-c",
         f"source {INSTALL}/agnesfs.fish; complete -C $LINE"],
        env=env, cwd=agnes.home, capture_output=True, text=True, timeout=SECONDS, check=True)
    assert not run.stderr, run.stderr
    return dict((entry.split("\t") + [""])[:2] for entry in run.stdout.splitlines())

