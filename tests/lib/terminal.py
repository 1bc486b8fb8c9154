"""A real terminal: a tmux server of the test's own.

    with Terminal(tmp_path, columns=80, rows=24) as terminal:
        terminal.run([BINARY, "status", "--watch", mount.path], env)
        terminal.wait("generation")          the screen, once it shows that
        terminal.lines()                     what it shows now, one string a row, without blanks at its end
        terminal.resize(40, 10)
        terminal.type("q"), terminal.type("C-c")
        terminal.wait_end()                  the exit code; what is left on the screen stays to be seen
"""

import shlex
import subprocess

from tests.lib.agnesfs import wait_for

BEFORE = "before the program"


class Terminal:
    def __init__(self, folder, columns=80, rows=24):
        self.folder = folder
        self.socket = folder / "tmux"
        self.code = folder / "tmux.code"
        self.columns, self.rows = columns, rows

    def _tmux(self, *args):
        return subprocess.run(["tmux", "-f", "/dev/null", "-S", self.socket, *map(str, args)],
                              check=True, capture_output=True, text=True, timeout=30,
                              env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TERM": "xterm",
                                   "HOME": str(self.folder), "SHELL": "/bin/sh"}).stdout

    def __enter__(self):
        self._tmux("new-session", "-d", "-x", self.columns, "-y", self.rows,
                   "-s", "test", "exec cat")  # the pane stays as long as it does
        self._tmux("set-option", "-g", "remain-on-exit", "on")
        return self

    def __exit__(self, *_):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True, timeout=30)

    def run(self, command, env):
        """In the place of what the pane shows."""
        self.code.unlink(missing_ok=True)
        words = ["env", "-i", *(f"{name}={value}" for name, value in env.items()),
                 "TERM=screen", *map(str, command)]
        script = (f"trap : INT; echo {BEFORE}; {shlex.join(words)}; echo $? >{self.code}.new; "
                  f"mv {self.code}.new {self.code}; sleep 1000")
        self._tmux("respawn-pane", "-k", "-t", "test", script)

    def lines(self):
        """Not while it is being drawn: two looks in a row that see the same."""
        def look():
            return self._tmux("capture-pane", "-p", "-t", "test").split("\n")[:self.rows]
        before, now = look(), look()
        while before != now:
            before, now = now, look()
        return now

    def wait(self, text, seconds=30):
        """The lines, once text is in one of them."""
        def shown():
            lines = self.lines()
            return lines if any(text in line for line in lines) else None
        try:
            return wait_for(shown, seconds)
        except AssertionError:
            raise AssertionError(f"not shown: {text}\n" + "\n".join(self.lines())) from None

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        self._tmux("resize-window", "-t", "test", "-x", columns, "-y", rows)

    def type(self, key):
        self._tmux("send-keys", "-t", "test", key)

    def modes(self):
        """Is the alternate screen shown? The cursor?"""
        return self._tmux("display-message", "-p", "-t", "test",
                          "#{alternate_on} #{cursor_flag}").strip()

    def wait_end(self, seconds=30):
        wait_for(self.code.exists, seconds, "the program has ended")
        return int(self.code.read_text())
