"""The table of runs: a row for each, found by the run's name."""

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import DataTable


class RunTable(DataTable[Text]):
    """Draws only what differs from what it shows; the cursor stays on its run."""

    def __init__(self) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False)
        self._names: list[str] = []  # of the columns
        self._drawn: list[list[str]] = []  # run and cells

    def choose(self, names: Sequence[str]) -> None:
        """Take these columns, and no rows."""
        self.clear(columns=True)
        for name in names:
            self.add_column(Text(name), key=name)
        self._names, self._drawn = list(names), []

    def show(self, runs: list[str], cells: list[list[Text]], here: str = "") -> None:
        """Show these runs in this order; the cursor stays on its run, or goes to `here`."""
        # as markup, since two texts of one wording are equal whatever their style
        drawn = [[run, *(cell.markup for cell in row)] for run, row in zip(runs, cells, strict=True)]
        if drawn == self._drawn:
            return
        here = here or self.highlighted
        with self.app.batch_update():
            if runs == [row[0] for row in self._drawn]:
                self._change(drawn, cells)
            else:
                self.clear()
                for run, row in zip(runs, cells, strict=True):
                    self.add_row(*row, key=run)
                if here in runs:
                    self.move_cursor(row=runs.index(here), animate=False)
                # a frame drawn before the table measured the new rows would stay in its cache
                self.call_after_refresh(self.notify_style_update)
        self._drawn = drawn

    def _change(self, drawn: list[list[str]], cells: list[list[Text]]) -> None:
        for old, new, row in zip(self._drawn, drawn, cells, strict=True):
            for column, before, after, cell in zip(self._names, old[1:], new[1:], row, strict=True):
                if before != after:
                    self.update_cell(new[0], column, cell, update_width=True)

    @property
    def highlighted(self) -> str:
        """The name of the run under the cursor."""
        if not self.row_count or not self.is_valid_row_index(self.cursor_row):
            return ""
        return self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value or ""
