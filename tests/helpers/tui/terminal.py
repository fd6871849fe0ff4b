"""A real terminal for tests: tmux with keys in and rows out."""

import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Self


class Terminal:
    """A tmux server of its own with one window. Use it as a context manager."""

    def __init__(self, width: int, height: int, environment: dict[str, str]) -> None:
        self.name = f"mio-{uuid.uuid4().hex[:8]}"
        settings = [f"{key}={value}" for key, value in environment.items()]
        shell = ["env", *settings, "bash", "--norc", "--noprofile"]
        self._tmux("new-session", "-d", "-x", str(width), "-y", str(height), shlex.join(shell))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._tmux("kill-server")

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-u", "-L", self.name, "-f", "/dev/null", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout

    def keys(self, *names: str) -> None:
        """Press keys, by tmux's names."""
        self._tmux("send-keys", *names)

    def type(self, command: str) -> None:
        """Type a line into the shell."""
        self._tmux("send-keys", "-l", command)
        self.keys("Enter")

    def text(self) -> str:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p")

    def wait(self, seen: str | Callable[[str], object], seconds: float = 30) -> str:
        """The screen once `seen` is on it; fails with the screen's last text."""
        found = (lambda text: seen in text) if isinstance(seen, str) else seen
        end = time.monotonic() + seconds
        while True:
            text = self.text()
            if found(text):
                return text
            assert time.monotonic() < end, f"not seen after {seconds} s: {seen}\n{text}"
            time.sleep(0.1)


def first_paint(words: bytes, *command: str) -> tuple[float, float]:
    """Seconds from `python COMMAND` to `words` on a real pseudo-terminal, on the clock and of CPU; then kills it."""
    began = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="80", LINES="24")
        os.execv(sys.executable, [sys.executable, *command])
    seen = b""
    try:
        while words not in seen:
            assert time.monotonic() - began < 60, seen
            if select.select([terminal], [], [], 0.05)[0]:
                seen += os.read(terminal, 65536)
        taken = time.monotonic() - began
    finally:
        os.kill(pid, signal.SIGKILL)
        os.close(terminal)
        used = os.wait4(pid, 0)[2]
    return taken, used.ru_utime + used.ru_stime


def app_paint(folder: Path) -> tuple[float, float]:
    """`first_paint` of the app on a folder without runs."""
    return first_paint(b"No runs yet", "-m", "mio_local.cli", "--runs", str(folder))
