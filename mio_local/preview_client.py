"""The app's side of the data preview: starts the process, asks it, and survives its end. Imports no dataset library."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from mio_local.errors import DataError, MioError, one_line
from mio_local.pieces import visible_line

LONGEST_LINE = 10 * 2**20  # bytes
PATIENCE = 2.0  # seconds that an open may still take when another one is asked
COMMAND = ("-P", "-m", "mio_local.preview")  # -P: the user's folder may hold a json.py of theirs

Answer = dict[str, Any]


class PreviewError(DataError):
    """What the process could not do, in its words. `answer` may name the `available` columns and the `roles`."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer["error"]))
        self.answer = answer


class Preview:
    """A preview process, started when it is first needed and again after it died.

    Every `ask` raises `PreviewError` (a DataError) with the process's error line, and `MioError` when the process died
    or was closed. After a death nothing is open, which is a MioError too: `open` again. Requests may be made at the
    same time; a cancelled one is forgotten. An open that takes long gives way to the next: it may be a large download.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._waiting: dict[int, asyncio.Queue[Answer | MioError]] = {}
        self._asked = 0
        self._closed = False
        self._open_asked = 0  # the number of the process's last open; 0 before there was one
        self._open_ended = asyncio.Event()
        self._overtaken = False

    async def start(self) -> None:
        """Start the process unless it runs; it answers its first request when it is ready."""
        async with self._starting:
            if self._closed:
                raise MioError("the data preview is closed")
            if self._listening and not self._listening.done():
                return
            pipe = asyncio.subprocess.PIPE
            try:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, *COMMAND, stdin=pipe, stdout=pipe, stderr=pipe, limit=LONGEST_LINE,
                    start_new_session=True,  # Ctrl-C in the terminal is for the app; and `kill` takes its children too
                )
            except OSError as error:
                raise MioError(f"the data preview cannot be started: {one_line(error)}") from None
            self._open_asked, self._overtaken = 0, False
            self._listening = asyncio.create_task(self._listen(self._process))

    async def ask(self, do: str, **fields: Any) -> Answer:
        """The answer to one request; see `mio_local.preview` for what there is to ask."""
        return await self._exchange(do, fields)

    async def summary(self, progress: Callable[[int, int], None]) -> Answer:
        """Statistics of the open pairs, `progress(done, total)` called on the way.

        The answer has `summary`, `warnings` and `stops`, or `cancelled` where another open or summary came between.
        """
        return await self._exchange("summary", {}, progress)

    async def close(self) -> None:
        """End the process, whatever it does; what still waits for an answer gets a MioError."""
        self._closed = True
        async with self._starting:
            if self._process and self._listening:
                kill(self._process)
                await self._listening

    async def _exchange(
        self, do: str, fields: Answer, progress: Callable[[int, int], None] | None = None
    ) -> Answer:
        if do == "open":
            await self._overtake()
        await self.start()
        assert self._process
        assert self._process.stdin
        self._asked += 1
        number = self._asked
        if do == "open":
            self._open_asked = number
            self._open_ended.clear()
        elif not self._open_asked:
            raise MioError("the data preview was started again, and nothing is open yet; open the pairs again")
        answers = self._waiting[number] = asyncio.Queue()
        try:
            self._process.stdin.write(json.dumps({"id": number, "do": do, **fields}).encode() + b"\n")
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `_listen` says why
                await self._process.stdin.drain()
            while True:
                answer = await answers.get()
                if isinstance(answer, MioError):
                    raise answer
                if "error" in answer:
                    raise PreviewError(answer)
                if "progress" not in answer:
                    return answer
                if progress:
                    progress(*answer["progress"])
        finally:
            del self._waiting[number]

    async def _overtake(self) -> None:
        """Let an open that is under way end soon, or end the process that is at it."""
        process, listening = self._process, self._listening
        if not process or not listening or not self._open_asked:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._open_ended.wait(), PATIENCE)
        if not self._open_ended.is_set() and not listening.done():
            self._overtaken = True
            kill(process)
            await asyncio.shield(listening)

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
                if answer["id"] == self._open_asked:
                    self._open_ended.set()
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
        ended = f"ended unexpectedly ({visible_line(words, 300)}); try again"
        ended = "is closed" if self._closed else "began anew for another source" if self._overtaken else ended
        self._open_ended.set()
        for answers in self._waiting.values():
            answers.put_nowait(MioError(f"the data preview {ended}"))


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
