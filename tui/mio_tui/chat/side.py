"""One voice's side of a chat."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from mio_tui.chat.transcript import Turn
from mio_tui.formatting import block, line

REDRAW = 0.08  # seconds between two drawings of an answer that grows
LONG = 100_000  # characters


class VoicePanel(VerticalScroll):
    """What a voice said, and how fast. It stays at its end while it grows, unless somebody scrolled up."""

    DEFAULT_CSS = """
    VoicePanel {
        height: 1fr; width: 1fr; padding: 0 1; border: round $border-blurred;
        & > Static { height: auto; }
        &.-speaking { border: round $primary; }
    }
    """

    def __init__(self, voice: str) -> None:
        super().__init__(can_focus=False)
        self.voice = voice
        self.growing = ""
        self.left_at = 0.0  # where it last scrolled itself to: elsewhere, a person scrolled

    def compose(self) -> ComposeResult:
        yield Static(id="told", markup=False)
        yield Static(id="growing", markup=False)

    def on_mount(self) -> None:
        self.border_title = line(self.voice)  # pyright: ignore[reportAttributeAccessIssue] - takes Text

    def show(self, turns: list[Turn], *, waiting: bool = False) -> None:
        """Draw all turns; where an answer is waited for, the last one without its answer."""
        told = Text()
        for number, turn in enumerate(turns):
            if number:
                told.append("\n\n")
            told.append("You  ", style="bold").append(block(turn.question, LONG)).append("\n")
            if not waiting or number < len(turns) - 1:
                told.append("\n✓ " if turn.better == self.voice else "\n").append(block(turn.text(self.voice), LONG))
        self.query_one("#told", Static).update(told)
        self.growing = ""
        self.draw()

    def begin(self, turns: list[Turn]) -> None:
        """An answer to the last of the turns is about to come."""
        self.add_class("-speaking")
        self.border_subtitle = "…"
        self.left_at = self.scroll_y
        self.show(turns, waiting=True)
        self.clock = self.set_interval(REDRAW, self.draw)

    def hear(self, piece: str) -> None:
        """More of the answer."""
        self.growing += piece

    def end(self, words: str) -> None:
        """The answer is over; `words` say how fast it was."""
        self.clock.stop()
        self.remove_class("-speaking")
        self.border_subtitle = line(words)  # pyright: ignore[reportAttributeAccessIssue] - takes Text

    def draw(self) -> None:
        """What grows, and a cursor while more may come."""
        text = block(self.growing, LONG)
        if self.has_class("-speaking"):
            text.append("▌", style="bold")
        growing = self.query_one("#growing", Static)
        growing.display = bool(text)
        growing.update(text)
        if self.scroll_y in (self.left_at, self.max_scroll_y):
            self.call_after_refresh(self.to_end)

    def to_end(self) -> None:
        """Scroll to the end, once what was drawn has its height."""
        self.scroll_end(animate=False, immediate=True)
        self.left_at = self.scroll_y
