"""The column beside the steps, where there is room: memory, duration, and what to look at twice, whatever the step."""

from rich.text import Text

from mio_tui.formatting import line
from mio_tui.new.checks import CARE, WRONG, checks
from mio_tui.new.state import State
from mio_tui.static_text import StaticText


class FactsSide(StaticText):
    """Drawn anew only where what it says has changed."""

    DEFAULT_CSS = """
    FactsSide { display: none; width: 30%; min-width: 38; max-width: 44; height: 1fr; padding: 1 0 0 2; }
    """

    def tell(self, state: State, first: Text) -> None:
        """Show `first`, which the step says, then what is known of the draft."""
        text = Text().append_text(first)
        if state.lasting:
            text.append("\n\nDuration\n", style="bold").append_text(line(state.lasting.line.removeprefix("duration: ")))
        doubts = [check for check in checks(state) if check.sign in (CARE, WRONG)]
        if doubts:
            text.append("\n\nTo look at", style="bold")
        for check in doubts:
            text.append(f"\n{check.sign} ").append_text(line(check.words, 300))
        self.show(text)
