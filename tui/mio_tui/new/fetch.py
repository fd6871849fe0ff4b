"""A model's download, in a process of its own that can be ended at any byte and started again."""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from mio_local.errors import one_line
from mio_local.services.child import kill, last_line
from mio_local.text import visible_line
from mio_tui.formatting import duration, size

COMMAND = ("-P", "-m", "mio_local.models.download")
SPAN = 5.0  # seconds over which the speed is taken


class Download:
    """One download. `state` is running, done, stopped or failed; `report` is called at every change."""

    def __init__(self, name: str, revision: str, report: Callable[[], None]) -> None:
        self.name = name
        self.revision = revision
        self.state = "running"
        self.done = 0
        self.total = 0
        self.error = ""
        self._report = report
        self._seen: list[tuple[float, int]] = []
        self._process: asyncio.subprocess.Process | None = None

    @property
    def share(self) -> float:
        """How much of it is here, 0 to 1."""
        return self.done / self.total if self.total else 0.0

    @property
    def speed(self) -> float:
        """Bytes a second, lately."""
        if len(self._seen) < 2:
            return 0.0
        (then, before), (now, after) = self._seen[0], self._seen[-1]
        return max(0.0, (after - before) / (now - then)) if now > then else 0.0

    @property
    def words(self) -> str:
        """Where it stands, in one line."""
        if self.state == "failed":
            return self.error
        if self.state == "stopped":
            return f"{self.name}: stopped at {self.share:.0%}; what has arrived is kept, enter goes on from there"
        if self.state == "done":
            return f"{self.name}: downloaded"
        if not self.total:
            return f"{self.name}: asking the hub…"
        left = f" · left {duration((self.total - self.done) / self.speed)}" if self.speed else ""
        return (
            f"{self.name}: {self.share:.0%} · {size(self.done)} of {size(self.total)} · {size(self.speed)}/s{left}"
            " · esc stops"
        )

    async def run(self) -> None:
        """Download until it is done, fails or is stopped."""
        revision = ["--revision", self.revision] if self.revision else []
        pipe = asyncio.subprocess.PIPE
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *COMMAND, *revision, "--", self.name,
                stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._end("failed", f"{self.name}: the download cannot be started: {one_line(error)}")
            return
        process = self._process
        assert process.stdout
        assert process.stderr
        said = asyncio.create_task(last_line(process.stderr))
        try:
            if self.state != "running":  # stopped before there was a process
                return
            await self._follow(process, process.stdout, said)
        finally:
            kill(process)
            await process.stdout.read()  # asyncio closes what it holds of a process once both pipes have ended
            await said
            await process.wait()

    async def _follow(
        self, process: asyncio.subprocess.Process, stdout: asyncio.StreamReader, said: asyncio.Task[str]
    ) -> None:
        async for line in stdout:
            self._take(line)
        code = await process.wait()
        words = await said
        if self.state == "running":
            self._end("failed", f"{self.name}: the download ended ({visible_line(words, 200) or f'code {code}'}); "
                                "what has arrived is kept, enter goes on from there")

    def stop(self) -> None:
        """End it; what has arrived is kept."""
        if self.state == "running":
            self._end("stopped")
            if self._process:
                kill(self._process)

    def _take(self, line: bytes) -> None:
        if self.state != "running":
            return
        try:
            said: dict[str, Any] = json.loads(line)
            if "error" in said:
                self._end("failed", visible_line(str(said["error"]), 300))
            elif "folder" in said:
                self._end("done")
            else:
                self.done, self.total = int(said["done"]), int(said["total"])
                now = time.monotonic()
                self._seen = [seen for seen in self._seen if now - seen[0] <= SPAN] + [(now, self.done)]
                self._report()
        except (ValueError, KeyError, TypeError):
            return

    def _end(self, state: str, error: str = "") -> None:
        self.state, self.error = state, error
        self._report()
