"""A command of `mio-local` in a process of its own, which goes on whatever screen one looks at."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mio_local.arguments import OF_RUNS
from mio_local.errors import one_line
from mio_local.process import trust_handed_on
from mio_local.runs.directory import Run
from mio_local.services.child import kill
from mio_local.text import visible

MOST_LINES = 2000
COMPLAINT = "mio-local: "  # what the line that tells of a mistake begins with
LONGEST_TEXT = 1000  # characters of a line that is shown
LONGEST_LINE = 2**20  # bytes
PATIENCE = 10.0  # seconds that a command has to end in once it is asked to


class CommandProcess:
    """Commands on a run, or on none, one after the other until one fails: of each its name and its flags. `lines` is
    what they print, or at the end what is in `read`, a text file that the last one writes; `code` the exit code once
    all is over. `last` says then how it ended: the complaint, or what was made."""

    def __init__(
        self, run: Run | None, title: str, commands: Sequence[Sequence[str]], read: Path | None = None,
        columns: int = 80,
    ) -> None:  # fmt: skip
        self.run, self.title, self.commands, self.read, self.columns = run, title, commands, read, columns
        self.lines: list[str] = []
        self.doing, self.done, self.total = "starting", 0, 0
        self.code: int | None = None
        self.last = ""
        self.began = self.ended = time.monotonic()
        self.stopped = False
        self.changed: Callable[[], object] = lambda: None  # who looks at it
        self._starting: asyncio.Task[asyncio.subprocess.Process] | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def over(self) -> bool:
        return self.code is not None

    @property
    def document(self) -> str:
        """The Markdown that it made; empty before it has."""
        made = self.over and not self.code and not self.stopped and self.read and self.read.suffix == ".md"
        return "\n".join(self.lines) if made else ""

    @property
    def seconds(self) -> float:
        """How long it has worked."""
        return (self.ended if self.over else time.monotonic()) - self.began

    async def work(self) -> None:
        """Run the commands; whatever happens is in `lines` and `code`."""
        code = 0
        try:
            for words in self.commands:
                code = await self._one(*words)
                if code or self.stopped:
                    break
        except OSError as error:
            self.lines.append(f"{COMPLAINT}cannot be started: {one_line(error)}")
            code = 2
        said = [text for text in self.lines if text.strip()]
        complaints = [text for text in said if text.startswith(COMPLAINT)]
        if self.stopped:
            self.last = "stopped"
        elif code:
            self.last = complaints[-1].removeprefix(COMPLAINT) if complaints else f"ended with {code}"
        else:
            self.last = self.outcome(said)
        if self.read and not code and not self.stopped:
            try:
                text = await asyncio.to_thread(self.read.read_text, "utf-8")
                self.lines = [_visible(line) for line in text.splitlines()[:MOST_LINES]]
            except (OSError, ValueError) as error:
                self.lines.append(f"{COMPLAINT}{self.read.name}: cannot be read: {one_line(error)}")
        self.ended = time.monotonic()
        self.code = code
        self.changed()

    def outcome(self, said: Sequence[str]) -> str:
        """What it came to, of the lines that it printed."""
        return said[0] if said else "done"

    async def _one(self, name: str, *flags: str) -> int:
        environment = {**os.environ, "MIO_LOCAL_PROGRESS": "json", "COLUMNS": str(self.columns)}
        trust = trust_handed_on() if name in OF_RUNS else []
        of_run = [str(self.run.path)] if self.run else []
        pipe = asyncio.subprocess.PIPE
        start = asyncio.create_subprocess_exec(
            # -P: no module is imported from the folder in which the app happens to run
            sys.executable, "-P", "-m", "mio_local.cli", name, *of_run, *flags, *trust,
            stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=environment, limit=LONGEST_LINE,
            start_new_session=True,
        )  # fmt: skip
        # in a task of its own: the app may be left meanwhile, and `end` must find the process all the same
        self._starting = asyncio.create_task(start)
        process = await asyncio.shield(self._starting)
        self._process = process
        assert process.stdout
        assert process.stderr
        try:
            await asyncio.gather(self._read(process.stdout), self._read(process.stderr))
            return await process.wait()
        finally:
            self._kill()

    async def _read(self, stream: asyncio.StreamReader) -> None:
        with contextlib.suppress(ValueError):  # a line longer than any of ours: the rest is not looked at
            async for raw in stream:
                text = raw.decode(errors="replace").rstrip()
                if self._is_progress(text):  # which who looks at it sees by a clock
                    continue
                if len(self.lines) < MOST_LINES:
                    self.lines.append(_visible(text))
                self.changed()
        while await stream.read(LONGEST_LINE):
            pass

    def _is_progress(self, text: str) -> bool:
        """Whether a line tells how far it is, in which case it is taken."""
        if not text.startswith('{"doing": '):
            return False
        try:
            told = json.loads(text)
            self.doing, self.done, self.total = str(told["doing"]), int(told["done"]), int(told["total"])
        except (ValueError, KeyError, TypeError):
            return False
        return True

    async def stop(self) -> None:
        """Ask the command to end, as Ctrl-C does; force it where it does not."""
        self.stopped = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), PATIENCE)
        self._kill()

    async def end(self) -> None:
        """Force it to end, and wait until it has."""
        self.stopped = True
        if self._starting:
            [found] = await asyncio.gather(self._starting, return_exceptions=True)
            if isinstance(found, asyncio.subprocess.Process):
                self._process = found
                self._kill()
                await found.wait()

    def _kill(self) -> None:
        if self._process and self._process.returncode is None:
            kill(self._process)


def _visible(text: str) -> str:
    return visible(text[:LONGEST_TEXT])
