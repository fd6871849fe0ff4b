"""One pair at a time, as its tokens."""

from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Static

from mio_local.errors import MioError
from mio_local.preview.preview_client import Preview, PreviewError
from mio_tui.formatting import block, line
from mio_tui.new.steps.pair import pair_text


class PairView(VerticalScroll, can_focus=True):
    """The pairs that are open, one by one."""

    DEFAULT_CSS = """
    PairView {
        height: 1fr; min-height: 4; border: round $border-blurred; padding: 0 1;
        &:focus { border: round $primary; }
        Static { height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,n", "turn(1)", "Next pair", show=False),
        Binding("left,p", "turn(-1)", "Pair before", show=False),
        Binding("pagedown", "turn(10)", "Ten pairs on", show=False),
        Binding("pageup", "turn(-10)", "Ten pairs back", show=False),
        Binding("home", "turn(-1000000000)", "First pair", show=False),
        Binding("end", "turn(1000000000)", "Last pair", show=False),
    ]

    class Lost(Message):
        """The preview process died; `words` say how."""

        def __init__(self, words: str) -> None:
            super().__init__()
            self.words = words

    def __init__(self) -> None:
        super().__init__(id="pair", classes="-gone")
        self.preview: Preview | None = None
        self.row = 0
        self.pairs = 0

    def compose(self) -> ComposeResult:
        yield Static(id="pair-text", markup=False)

    def on_mount(self) -> None:
        self.border_subtitle = "←/→ pairs · page keys: ten"

    async def open(self, preview: Preview, pairs: int) -> bool:
        """Show the pairs of what `preview` opened; the row stays where there is one. Whether the process lives."""
        self.preview, self.pairs = preview, pairs
        self.row = min(self.row, max(0, pairs - 1))
        return await self._fetch(self.row)

    def action_turn(self, by: int) -> None:
        """Another pair."""
        row = max(0, min(self.row + by, self.pairs - 1))
        if row != self.row and self.preview:
            self.row = row
            self._title(f"pair {row + 1:,} of {self.pairs:,} …")
            self.run_worker(partial(self._fetch, row), group="pair", exclusive=True, exit_on_error=False)

    async def _fetch(self, row: int) -> bool:
        text = self.query_one("#pair-text", Static)
        if not self.preview or not self.pairs:
            return True
        try:
            answer = await self.preview.ask("pair", row=row)
        except PreviewError as error:
            text.update(block(f"✗ {error}"))
            return True
        except MioError as error:
            self.post_message(self.Lost(str(error)))
            return False
        self._title(f"pair {row + 1:,} of {self.pairs:,} · {answer.get('where', '')}")
        text.update(pair_text(answer.get("parts", [])))
        self.scroll_home(animate=False)
        return True

    def _title(self, words: str) -> None:
        self.border_title = line(words)  # pyright: ignore[reportAttributeAccessIssue] - takes Text
