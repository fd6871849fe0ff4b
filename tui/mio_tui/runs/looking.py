"""Reading the folder of runs again and again, as far as somebody sees it."""

import asyncio
from math import inf
from time import monotonic, thread_time

from textual import work

from mio_local.errors import RunError
from mio_local.runs.directory import Run
from mio_local.runs.index import Index
from mio_local.runs.summary import Row
from mio_tui.base import MioScreen
from mio_tui.endings import AT_WORK
from mio_tui.runs.run_columns import clock, needs

REFRESH = 1.0  # seconds
SHARE = 10  # parts of a processor's time of which reading a large folder takes one at most
PATIENCE = 0.3  # seconds of reading after which is shown what was read


class Looking(MioScreen[None]):
    """The part of the list of runs that reads. What was read is drawn where anything is new: ages, too, which pass once
    a minute. A list that is covered does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] | None = None
        self.left = 0  # runs that are not read yet
        self.needed = needs(())
        self.minute = 0.0  # of the ages that are drawn
        self.looked = self.took = 0.0  # when the last look ended, and what it cost, in seconds of a processor
        self.trouble = ""  # why the folder cannot be read

    def draw(self) -> None:
        """Show what was read."""
        raise NotImplementedError

    def tell(self) -> None:
        """Show how many there are, or the trouble."""
        raise NotImplementedError

    @property
    def row(self) -> Row | None:
        """The run under the cursor, as it was last read."""
        raise NotImplementedError

    def preview(self) -> None:
        """Show more of the run under the cursor."""
        raise NotImplementedError

    @property
    def run(self) -> Run | None:
        """The run under the cursor."""
        return Run(self.mio.folder / self.row.name) if self.row else None

    def on_mount(self) -> None:
        self.every(REFRESH, self.tick)

    def on_screen_resume(self) -> None:
        self.look()
        self.preview()

    def tick(self) -> None:
        """Look again, unless that goes on, or the folder is so large that it would take much of the time."""
        if monotonic() - self.looked > SHARE * self.took:
            self.look()

    @work(exclusive=True, group="look", exit_on_error=False)
    async def look(self) -> None:
        """Read every run's status, off the event loop, and draw what changed."""
        if not self.on_top and self.rows is not None:
            return
        self.looked, self.took = inf, 0.0
        try:
            while await self.read():
                pass
        except RunError as error:
            if not self.trouble:
                self.mio.complain(error)
            self.trouble = str(error)
            self.tell()
        finally:
            self.looked = monotonic()

    async def read(self) -> bool:
        """Read and draw; whether there is more to read. Raises RunError."""
        found, cost = await asyncio.to_thread(_read, self.mio.index)
        self.took += cost
        first, before = self.rows is None or self.left > 0, self.row
        self.left = self.mio.index.left
        self.mio.follow(Run(self.mio.folder / row.name) for row in found if row.state in AT_WORK)
        if found != self.rows:
            self.needed = await asyncio.to_thread(needs, found)
        if found != self.rows or self.minute != clock() or self.trouble:
            self.rows, self.minute, self.trouble = found, clock(), ""
            self.draw()
            self.tell_small()
        if self.row != before:
            self.preview()
        if first and not self.left:
            self.mio.listed(found)
        return self.left > 0


def _read(index: Index) -> tuple[list[Row], float]:
    """Every run's row, as many as can be read soon, and the processor time that it took. Raises RunError."""
    began = thread_time()
    return index.read(PATIENCE), thread_time() - began
