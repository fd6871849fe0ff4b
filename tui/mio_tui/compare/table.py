"""The table of runs: a row for each, one of them under the cursor, and the difference below."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import Static

from mio_tui.formatting import line

GAP = 2
LEAST_NAME, MOST_CELL = 8, 16


@dataclass(frozen=True)
class Row:
    """A line of the table: `cells` in the columns, or `words` across them."""

    lead: str
    name: str
    cells: Sequence[str] = ()
    words: str = ""
    style: str = ""  # of the lead
    rest: str = ""  # of all


def lay_out(heads: Sequence[str], rows: Sequence[Row], width: int, cursor: int) -> list[Text]:
    """A line of text for the heads and for each row, `width` cells at most: the last columns are dropped first."""
    widths = [
        min(MOST_CELL, max([cell_len(head), *(cell_len(row.cells[at]) for row in rows if row.cells)]))
        for at, head in enumerate(heads)
    ]
    lead = 2 + max([1, *(cell_len(row.lead) for row in rows)])
    while widths and lead + 1 + LEAST_NAME + sum(widths) + GAP * len(widths) > width:
        widths.pop()
    room = width - lead - 1 - sum(widths) - GAP * len(widths)
    named = min(max([3, *(cell_len(line(row.name).plain) for row in rows)]), max(room, LEAST_NAME))
    lines = [Text(" " * (lead + 1) + _left("run", named) + _right(heads, widths), style="bold", no_wrap=True)]
    for at, row in enumerate(rows):
        text = Text("› " if at == cursor else "  ", style=row.rest, no_wrap=True, overflow="ellipsis")
        text.append(_left(row.lead, lead - 2) + " ", style=row.style)
        text.append(_left(line(row.name).plain, named))
        text.append(" " * GAP + line(row.words).plain if row.words else _right(row.cells, widths))
        if at == cursor:
            text.stylize("bold")
        lines.append(text)
    return lines


class CompareTable(Static):
    """The table on the screen. A click moves the cursor there."""

    DEFAULT_CSS = "CompareTable { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }"

    class Clicked(Message):
        """The row that was clicked."""

        def __init__(self, row: int) -> None:
            super().__init__()
            self.row = row

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)

    def show(self, lines: Sequence[Text]) -> None:
        """Draw these lines, of which the first is the heads."""
        self.update(Text("\n", no_wrap=True, overflow="ellipsis").join(lines))

    def on_click(self, event: events.Click) -> None:
        self.post_message(self.Clicked(event.y - 1))


def _left(text: str, width: int) -> str:
    """Cut or filled to the width."""
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _right(cells: Sequence[str], widths: Sequence[int]) -> str:
    cut = [(_left(cell, min(cell_len(cell), width)), width) for cell, width in zip(cells, widths, strict=False)]
    return "".join(" " * (GAP + width - cell_len(cell)) + cell for cell, width in cut)
