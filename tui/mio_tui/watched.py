"""One run as the app sees it: its status, and its history as far as it was read."""

import asyncio
import gc
from typing import TYPE_CHECKING, Any

from mio_local.errors import MioError
from mio_local.runs import Run
from mio_local.tail import Tail

if TYPE_CHECKING:
    from mio_local.history import History


class Watched:
    """A run that is read as it grows. Nothing here writes; everything may be damaged, and then says so in `trouble`."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.status: dict[str, Any] = {"state": "starting"}
        self.trouble = ""
        self.history: History | None = None  # once `load` has been awaited
        self._tail = Tail(run.events)
        self._busy = False

    @property
    def past(self) -> "History":
        """The history, which must have been loaded."""
        assert self.history is not None
        return self.history

    @property
    def state(self) -> str:
        return str(self.status.get("state", ""))

    def refresh_status(self) -> bool:
        """Read status.json and the lock; whether anything changed."""
        try:
            status = self.run.read_status()
        except (MioError, OSError, ValueError) as error:
            status = {"state": "damaged" if self.run.path.exists() else "lost", "reason": str(error)}
        changed = status != self.status
        self.status = status
        return changed

    async def load(self, *, part: bool = False) -> bool:
        """Read what is new, off the event loop; whether anything was. Never two at once.

        With `part`, a few thousand events at most; `behind` says whether there are more.
        """
        if self._busy:
            return False
        self._busy = True
        gc.disable()  # events hold no cycles, and each search for some would walk through all that were read
        try:
            return await self._load(part)
        finally:
            gc.enable()
            self._busy = False

    async def _load(self, part: bool) -> bool:
        if self.history is None:
            self.history = await asyncio.to_thread(self._open)
        if (history := self.history) is None:
            return False
        before = history.version
        while True:
            again, records = await asyncio.to_thread(self._tail.poll)
            history.add(records, again=again)
            if part or not self.behind:
                return history.version != before

    def _open(self) -> "History | None":
        from mio_local.history import History
        from mio_local.recipe import build, read_toml

        try:
            recipe = build(read_toml(self.run.recipe), str(self.run.recipe))
        except (MioError, OSError) as error:
            self.trouble = str(error)
            return None
        self.trouble = ""
        return History(self.run, recipe)

    @property
    def behind(self) -> bool:
        """Whether the last reading ended before the file did."""
        return self._tail.behind

    @property
    def bad_lines(self) -> int:
        """Lines of events.jsonl that are no events."""
        return self._tail.bad
