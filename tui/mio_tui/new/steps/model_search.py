"""The search of step 1: what is typed is a folder to look into, or words for the hub."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from textual.timer import Timer
from textual.widgets import Input

from mio_local.errors import MioError
from mio_local.models import hub
from mio_tui.background_thread import aside
from mio_tui.new import stock
from mio_tui.new.state import State, Step
from mio_tui.new.steps.model_list import Shelf

SEARCH_PAUSE = 0.4  # seconds without a key before the hub is asked
LEAST_LETTERS = 2


class ModelSearch(Step):
    """Puts what it finds on the shelf; a pause in the typing begins it."""

    def __init__(self, state: State) -> None:
        super().__init__(state, "step-model")
        self.shelf = Shelf()
        self.looking = "looking on this disk…"
        self.error = ""
        self._pause: Timer | None = None

    def fill(self) -> None:
        """Show what is on the shelf."""
        raise NotImplementedError

    def estimate_all(self) -> None:
        """Estimate what is shown."""
        raise NotImplementedError

    @property
    def typed_text(self) -> str:
        return self.query_one("#query", Input).value.strip()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.error = ""
        if self._pause:
            self._pause.stop()
        self.workers.cancel_group(self, "search")
        query = self.typed_text
        self.shelf.remote, self.shelf.typed, self.looking = [], [], ""
        self.state.not_taken = query if query != self.state.draft.text("model.name") else ""
        self.post_message(self.Found())
        if stock.is_path(query):
            self._pause = self.set_timer(SEARCH_PAUSE / 2, lambda: self._start(partial(self._find, query)))
        elif len(query) >= LEAST_LETTERS:
            self.looking = "searching the hub…"
            self._pause = self.set_timer(SEARCH_PAUSE, lambda: self._start(partial(self._find, query)))
        self.fill()

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]], group: str = "search") -> None:
        self.run_worker(work, group=group, exclusive=True, exit_on_error=False)

    async def _find(self, query: str) -> None:
        """Look into the folder that was typed, or ask the hub."""
        try:
            if stock.is_path(query):
                self.shelf.typed, self.error = await aside(stock.models_at, query)
            else:
                self.shelf.remote = await aside(hub.search, query)
        except (MioError, OSError, RuntimeError, ValueError) as error:  # no such user, a name with a zero in it
            self.error = str(error) if isinstance(error, MioError) else f"{query}: {error}"
        self.looking = ""
        self.fill()
        self.estimate_all()

    async def _found(self) -> None:
        """Make the list that of what was typed, where it is not yet."""
        if self._pause and self.state.not_taken:
            self._pause.stop()
            self.workers.cancel_group(self, "search")
            await self._find(self.state.not_taken)
