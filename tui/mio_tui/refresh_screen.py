"""Work that is asked for at any time and done one turn after the other."""

from typing import TypeVar

from mio_tui.base import MioScreen

T = TypeVar("T")


class RefreshScreen(MioScreen[T]):
    """A screen that reads and draws in turns: what is asked for during one is done in the next."""

    working = False
    again = False

    async def turn(self) -> None:
        """Read what is new, and draw it where it is seen."""
        raise NotImplementedError

    def work(self) -> None:
        """Take a turn, now or after the one that is taken."""
        self.again = True
        if not self.working:
            self.working = True
            self.run_worker(self._turns(), group="turns", exit_on_error=False)

    async def _turns(self) -> None:
        try:
            while self.again:
                self.again = False
                await self.turn()
        finally:
            self.working = False
