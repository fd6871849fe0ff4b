"""One run as a screen sees it: its status, and its history as far as it was read."""

import asyncio
import contextlib
import gc
import os
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from mio_local.errors import MioError
from mio_local.runs.directory import Run
from mio_local.runs.queue import place_of
from mio_local.runs.tail import Tail

if TYPE_CHECKING:
    from mio_local.runs.history import History
    from mio_local.runs.summary import Verdict


class Reader:
    """Reads a run's events, in threads, once for all the screens that show it.

    Whoever looks through `history` in a thread holds `lock`, as nothing may be added to it meanwhile.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.trouble = ""
        self.history: History | None = None
        self.tail = Tail(run.events)
        self.lock = threading.Lock()
        self.judged: tuple[int, Verdict | None] = (-1, None)  # at a version of the history
        self.seen: object = None  # how the files looked before they were last read
        self._recipe = (0, 0)  # inode and time of the file that was read

    def more(self) -> None:
        """Read the next few thousand events, or as many as there are."""
        with self.lock:
            self.seen = _marks(self.run)
            self._read_recipe()
            if self.history is None:
                return
            gc.disable()  # events hold no cycles, and each search for some would walk through all that were read
            try:
                again, records = self.tail.poll()
                self.history.add(records, again=again)
            finally:
                gc.enable()

    def _read_recipe(self) -> None:
        """Anew where it is another file: the trainer writes down what a queued run's recipe left to it."""
        from mio_local.recipe import build, read_toml
        from mio_local.runs.history import History

        try:
            stat = self.run.recipe.stat()
            if (stat.st_ino, stat.st_mtime_ns) == self._recipe:
                return
            recipe = build(read_toml(self.run.recipe), str(self.run.recipe))
        except (MioError, OSError) as error:
            self.trouble = "" if self.history else str(error)
            return
        self._recipe, self.trouble = (stat.st_ino, stat.st_mtime_ns), ""
        if self.history is None:
            self.history = History(self.run, recipe)
        else:
            self.history.recipe = recipe
            self.history.version += 1


_readers: WeakValueDictionary[str, Reader] = WeakValueDictionary()  # by folder, while a screen shows it


class Watched:
    """A run that is read as it grows. Nothing here writes; everything may be damaged, and then says so in `trouble`."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.status: dict[str, Any] = {"state": "starting"}
        self._reader = _readers.setdefault(os.path.realpath(run.path), Reader(run))
        self._version = 0  # of the history, when this screen last took from it

    @property
    def lock(self) -> threading.Lock:
        """Held by whoever looks through the history in a thread."""
        return self._reader.lock

    @property
    def trouble(self) -> str:
        """Why there is no history, empty where there is."""
        return self._reader.trouble

    @property
    def history(self) -> "History | None":
        """What was read, once `load` has been awaited."""
        return self._reader.history

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
            state = "damaged" if self.run.path.exists() else "lost"
            status = dict[str, Any](state=state, reason=str(error))
        if status.get("waits"):
            status["place"] = place_of(self.run)
        changed = status != self.status
        self.status = status
        return changed

    def moved(self) -> bool:
        """Whether the run's files look other than when they were last read: two looks at the disk, and no thread."""
        return self.behind or _marks(self.run) != self._reader.seen

    async def load(self, *, part: bool = False) -> bool:
        """Read what is new, off the event loop; whether there is anything that this screen did not have.

        With `part`, a few thousand events at most; `behind` says whether there are more.
        """
        await asyncio.to_thread(self._reader.more)
        while self.behind and not part:
            await asyncio.to_thread(self._reader.more)
        before, self._version = self._version, self.history.version if self.history else 0
        return before != self._version

    def verdict(self) -> "Verdict | None":
        """What is to be thought of the run, judged anew where its events are others. Call it in a thread that holds the
        lock."""
        from mio_local.reports.verdict import verdict

        reader = self._reader
        if self.history is not None and not self.behind and reader.judged[0] != self.history.version:
            reader.judged = self.history.version, verdict(self.history)
        return reader.judged[1]

    @property
    def behind(self) -> bool:
        """Whether the last reading ended before the file did."""
        return self._reader.tail.behind

    @property
    def bad_lines(self) -> int:
        """Lines of events.jsonl that are no events."""
        return self._reader.tail.bad


def _marks(run: Run) -> list[tuple[int, int, int]]:
    """What tells a file that was written or replaced: inode, size, time."""
    found: list[tuple[int, int, int]] = []
    for path in (run.events, run.recipe):
        with contextlib.suppress(OSError):
            stat = path.stat()
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return found
