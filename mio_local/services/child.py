"""A process that the app asks by JSON lines: starts it, hands out its answers, and survives its end."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, ClassVar

from mio_local.errors import DataError, MioError, one_line
from mio_local.process import trust_handed_on
from mio_local.text import visible_line

LONGEST_LINE = 10 * 2**20  # bytes
PARTIAL = ("progress", "text")  # an answer with one of these has others behind it

Answer = dict[str, Any]


class ChildError(DataError):
    """What the process could not do, in its words; `answer` may hold more."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer["error"]))
        self.answer = answer


class Child:
    """A process, started when it is first needed and again after it died.

    `exchange` raises `ChildError` (a DataError) with the process's error line, and `MioError` when the process died or
    was closed. Requests may be made at the same time; a cancelled one is forgotten.
    """

    module: ClassVar[str]  # of `python -m`
    name: ClassVar[str]  # what to call it

    def __init__(self) -> None:
        self.process: asyncio.subprocess.Process | None = None
        self.listening: asyncio.Task[None] | None = None
        self.asked = 0
        self._starting = asyncio.Lock()
        self._beginning: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Queue[Answer | MioError]] = {}
        self.closed = False

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.listening is not None and not self.listening.done()

    async def start(self) -> None:
        """Start the process unless it runs; it answers its first request when it is ready."""
        async with self._starting:
            if self.closed:
                raise MioError(f"{self.name} is closed")
            if self.alive:
                return
            # in a task of its own: whoever asked may be cancelled, and `close` must find the process all the same
            self._beginning = asyncio.create_task(self._begin())
            await asyncio.shield(self._beginning)

    async def _begin(self) -> None:
        pipe = asyncio.subprocess.PIPE
        try:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, *self.command(), stdin=pipe, stdout=pipe, stderr=pipe, limit=LONGEST_LINE,
                start_new_session=True,  # Ctrl-C in the terminal is for the app; and `kill` takes its children too
            )
        except OSError as error:
            raise MioError(f"{self.name} cannot be started: {one_line(error)}") from None
        self.began()
        self.listening = asyncio.create_task(self._listen(self.process))

    async def exchange(self, do: str, fields: Answer, partial: Callable[[Answer], None] | None = None) -> Answer:
        """The last answer to one request; `partial` is called with those before it."""
        await self.start()
        assert self.process
        assert self.process.stdin
        self.asked += 1
        number = self.asked
        self.asking(do, number)
        answers = self._waiting[number] = asyncio.Queue()
        try:
            self.process.stdin.write(json.dumps({"id": number, "do": do, **fields}).encode() + b"\n")
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `_listen` says why
                await self.process.stdin.drain()
            while True:
                answer = await answers.get()
                if isinstance(answer, MioError):
                    raise answer
                if "error" in answer:
                    raise ChildError(answer)
                if not any(key in answer for key in PARTIAL):
                    return answer
                if partial:
                    partial(answer)
        finally:
            del self._waiting[number]

    async def close(self) -> None:
        """End the process, whatever it does; what still waits for an answer gets a MioError."""
        self.closed = True
        async with self._starting:
            if self._beginning:
                await asyncio.gather(self._beginning, return_exceptions=True)
            if self.process and self.listening and not self.listening.done():  # a number that is free may be another's
                kill(self.process)
                await self.listening

    def command(self) -> tuple[str, ...]:
        """Python's arguments. -P: the user's folder may hold a json.py of theirs."""
        return ("-P", "-m", self.module, *trust_handed_on())

    def began(self) -> None:
        """A new process was started."""

    def asking(self, do: str, number: int) -> None:
        """A request is about to be sent."""

    def answered(self, number: int) -> None:
        """An answer came."""

    def ending(self, words: str) -> str:
        """What is told to those who wait when the process is gone; `words` say how it ended."""
        return "is closed" if self.closed else f"ended unexpectedly ({words}); try again"

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Hand out the answers until the process ends, then tell all who wait."""
        assert process.stdin
        assert process.stdout
        assert process.stderr
        said = asyncio.create_task(last_line(process.stderr))
        broken = ""
        try:
            async for line in process.stdout:
                answer = json.loads(line)
                self.answered(answer["id"])
                if answer["id"] in self._waiting:
                    self._waiting[answer["id"]].put_nowait(answer)
        except ValueError as error:  # too long a line, or the rest of one
            broken = f"unreadable answer: {one_line(error, 100)}"
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 0 if broken else 0.5)
        kill(process)  # it closed its stdout and lives, or a child of its holds its stderr
        code = await process.wait()
        process.stdin.close()
        broken = broken or await said
        words = broken or (f"signal {-code}" if code < 0 else f"exit code {code}")
        ended = self.ending(visible_line(words, 300))
        for answers in self._waiting.values():
            answers.put_nowait(MioError(f"{self.name} {ended}"))


async def last_line(stream: asyncio.StreamReader) -> str:
    """The last line of a stream with anything in it; reads all of it, so that its writer never waits."""
    tail = b""
    while chunk := await stream.read(65536):
        tail = (tail + chunk)[-4096:]
    lines = [line for line in tail.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def kill(process: asyncio.subprocess.Process) -> None:
    """End a process and its children, which may have ended.

    Not by `process.kill()`: that collects the exit code itself when it can, and asyncio then warns that it is lost.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says EPERM where only a zombie is left
        os.killpg(process.pid, signal.SIGKILL)
