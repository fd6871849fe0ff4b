"""The app's side of the data preview. Imports no dataset library."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from mio_local.errors import MioError
from mio_local.services.child import Answer, Child, kill
from mio_local.services.child import ChildError as PreviewError

__all__ = ["Preview", "PreviewError"]
PATIENCE = 2.0  # seconds that an open may still take when another one is asked


class Preview(Child):
    """The preview process. A PreviewError's `answer` may name the `available` columns and the `roles`.

    After a death nothing is open, which is a MioError too: `open` again. An open that takes long gives way to the next:
    it may be a large download.
    """

    module = "mio_local.preview.preview_server"
    name = "the data preview"

    def __init__(self) -> None:
        super().__init__()
        self._open_asked = 0  # the number of the process's last open; 0 before there was one
        self._open_ended = asyncio.Event()
        self._overtaken = False

    async def ask(self, do: str, **fields: Any) -> Answer:
        """The answer to one request; see `mio_local.preview.preview_server` for what there is to ask."""
        if do == "open":
            await self._overtake()
        return await self.exchange(do, fields)

    async def summary(self, progress: Callable[[int, int], None]) -> Answer:
        """Statistics of the open pairs, `progress(done, total)` called on the way.

        The answer has `summary`, `warnings` and `stops`, or `cancelled` where another open or summary came between.
        """
        return await self.exchange("summary", {}, lambda answer: progress(*answer["progress"]))

    def began(self) -> None:
        self._open_asked, self._overtaken = 0, False

    def asking(self, do: str, number: int) -> None:
        if do == "open":
            self._open_asked = number
            self._open_ended.clear()
        elif not self._open_asked:
            raise MioError("the data preview was started again, and nothing is open yet; open the pairs again")

    def answered(self, number: int) -> None:
        if number == self._open_asked:
            self._open_ended.set()

    def ending(self, words: str) -> str:
        self._open_ended.set()
        return "began anew for another source" if self._overtaken and not self.closed else super().ending(words)

    async def _overtake(self) -> None:
        """Let an open that is under way end soon, or end the process that is at it."""
        process, listening = self.process, self.listening
        if not process or not listening or not self._open_asked:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._open_ended.wait(), PATIENCE)
        if not self._open_ended.is_set() and not listening.done():
            self._overtaken = True
            kill(process)
            await asyncio.shield(listening)
