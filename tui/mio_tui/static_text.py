"""Text that is drawn anew only where it has changed, and lays the screen out anew only where its size may have."""

from rich.text import Text
from textual.widgets import Static


class StaticText(Static):
    """A text of plain characters: nothing in it is markup.

    Textual's own lays the whole screen out at every update, which took most of the time between a key and its sign.
    """

    def __init__(self, text: Text | str = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(text, id=id, classes=classes, markup=False)
        self._text: Text | str = text

    def show(self, text: Text | str, *, layout: bool = False) -> None:
        """Show another text; `layout` where the widget's size follows from it."""
        if text != self._text:
            self._text = text
            self.update(text, layout=layout)
