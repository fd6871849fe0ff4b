"""The comparison on the screen: two charts, what the figures are, the table, and a line for what happened."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from mio_local.runs.directory import LIVE
from mio_tui.compare.curves import Panel, View
from mio_tui.compare.members import Member
from mio_tui.compare.panel_chart import PanelChart
from mio_tui.compare.picture import Picture, caption
from mio_tui.compare.table import CompareTable, lay_out
from mio_tui.compare.table_rows import table_heads, table_rows
from mio_tui.formatting import count, line, paint

SIDES = ("left", "right")


class Comparison(Vertical):
    """Draws what it is given."""

    DEFAULT_CSS = """
    Comparison {
        height: 1fr;
        #charts { height: 1fr; }
        #charts > Vertical { width: 1fr; height: 1fr; }
        #charts.-left #right, #charts.-right #left { display: none; }
        #caption, #told { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #caption { color: $text-muted; }
        #told { display: none; }
        #told.-said { display: block; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = Picture()
        self.only = ""  # the side that is zoomed
        self._table: tuple[Sequence[Member], int] = ((), 0)

    def compose(self) -> ComposeResult:
        with Horizontal(id="charts"):
            for side in SIDES:
                with Vertical(id=side, classes="panel"):
                    yield PanelChart(id=f"{side}-chart", empty="no figures yet")
        yield Static(id="caption", markup=False)
        yield CompareTable(id="table")
        yield Static(id="told", markup=False)

    @property
    def charts(self) -> list[PanelChart]:
        """Left and right."""
        return list(self.query(PanelChart))

    @property
    def lead(self) -> PanelChart:
        """The chart that is seen, the left one of two."""
        return self.charts[1 if self.only == "right" else 0]

    def draw(self, seen: Picture, members: Sequence[Member], log: bool) -> None:
        """Draw all of it."""
        self.seen = seen
        drawn = [member for member in members if member.drawn]
        for side, chart, panel in zip(SIDES, self.charts, seen.panels, strict=True):
            chart.look(panel, seen.view, _x_end(seen.view, drawn), log)
            box = self.query_one(f"#{side}")
            box.border_title = line(panel.title)  # pyright: ignore[reportAttributeAccessIssue] - takes Text
            box.border_subtitle = line(_subtitle(seen.view, panel, log))  # pyright: ignore[reportAttributeAccessIssue]
        self.query_one("#caption", Static).update(caption(seen, members))

    def draw_table(self, members: Sequence[Member], cursor: int) -> None:
        """Draw the table alone: the cursor moved."""
        self._table = (members, cursor)
        rows = table_rows(self.seen, members, lambda variable: paint(self.app, variable), self.seen.view.names)
        self.query_one(CompareTable).show(lay_out(table_heads(self.seen), rows, self.app.size.width - 1, cursor))

    def on_resize(self) -> None:
        self.draw_table(*self._table)

    def say(self, words: str, variable: str = "") -> None:
        """Show a line of what happened, or none."""
        told = self.query_one("#told", Static)
        told.set_class(bool(words), "-said")
        told.update(line(words, 400, paint(self.app, variable) if variable else ""))

    def zoom_panel(self, only: str) -> None:
        """Show one side alone, or both."""
        self.only = only
        for side in SIDES:
            self.query_one("#charts").set_class(side == only, f"-{side}")

    def crosshair(self, columns: int) -> None:
        """Move the crosshair, at the same x in both charts."""
        self.lead.move_cursor(columns)
        for chart in self.charts:
            chart.set_cursor(self.lead.cursor)

    def hide_crosshair(self) -> bool:
        """Take the crosshair away; whether there was one."""
        there = any(chart.cursor is not None for chart in self.charts)
        for chart in self.charts:
            chart.set_cursor(None)
        return there


def _x_end(view: View, drawn: Sequence[Member]) -> float | None:
    """Where the steps will end, while a run trains: then old columns of the chart never move."""
    totals = [count(member.watched.status.get("total_steps")) for member in drawn if member.watched.state in LIVE]
    return float(max(totals)) if totals and view.axis == "step" else None


def _subtitle(view: View, panel: Panel, log: bool) -> str:
    parts = [f"x: {view.axis}"]
    if any(not curve.marks for curve in panel.curves):
        parts.append(f"smooth {view.smooth}" if view.smooth else "not smoothed")
    return " · ".join([*parts, *(["log y"] if log and panel.log else [])])
