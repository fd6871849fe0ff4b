"""Every run with its state; the first screen."""

import asyncio
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Input, Static

from mio_local.chat.start import ChatStart
from mio_local.errors import RunError
from mio_local.runs.directory import RESUMABLE, Run
from mio_local.runs.summary import Row
from mio_tui import listing
from mio_tui.formatting import line
from mio_tui.removal import Removal
from mio_tui.runtable import RunTable

REFRESH = 1.0  # seconds
MOST_MARKS = 4
OF_A_RUN = ("mark", "compare", "chat", "resume", "delete", "filter", "sort", "again", "copy")


class RunsScreen(Removal):
    """The table of runs, and beside it, where there is room, the curves of the highlighted one."""

    TITLE_WORDS = "Runs"
    HELP_WORDS = (
        "Δchosen is the change of the held-out chosen answers' log-prob against the untrained model, nats per answer; "
        "where nothing was held out, of the last training batch's.\n"
        "● training  ‖ paused  ✓ done  ■ stopped  ✗ failed  ? lost: its process is gone  ◌ starting or queued"
    )
    DEFAULT_CSS = """
    RunsScreen {
        #empty { display: none; height: 1fr; padding: 1 2; }
        &.-empty #empty { display: block; }
        &.-empty #main { display: none; }
        #main { height: 1fr; }
        #list { width: 1fr; }
        #side { display: none; width: 44; }
        &.-wide #side { display: block; }
        #filter { display: none; height: 1; border: none; padding: 0 1; background: $panel; }
        &.-filtering #filter { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "app.new_run", "New run", id="runs.new"),
        Binding("d", "demo", "Demo run", id="runs.demo"),
        Binding("space", "mark", "Mark", id="runs.mark"),
        Binding("c", "compare", "Compare", id="runs.compare"),
        Binding("t", "chat", "Chat", id="runs.chat"),
        Binding("r", "resume", "Resume", id="runs.resume"),
        Binding("d", "delete", "Delete", id="runs.delete"),
        Binding("slash", "filter", "Filter", key_display="/", show=False, id="runs.filter"),
        Binding("s", "sort", "Sort by state, name, objective, change or age", show=False, id="runs.sort"),
        Binding("e", "again", "New run with this one's settings", show=False, id="runs.again"),
        Binding("y", "copy", "Copy the run's folder", show=False, id="runs.copy"),
        Binding("D", "app.demo", "Demo: MIO, then DPO, on the shipped model", show=False, id="runs.demo_any"),
        Binding("j", "cursor(1)", "Down", show=False),
        Binding("k", "cursor(-1)", "Up", show=False),
        Binding("escape", "leave_filter", "Clear filter and marks", show=False),
        Binding("q", "app.leave", "Quit", id="runs.quit"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] | None = None
        self.ages: list[str] | None = None  # as they were drawn
        self.marked: list[str] = []
        self.sort = listing.SORTS[0]
        self.words = ""
        self.reading = False

    def body(self) -> ComposeResult:
        yield Static(id="head", classes="head", markup=False)
        with Horizontal(id="main"):
            with Vertical(id="list"):
                yield RunTable()
            yield Vertical(id="side")
        yield Static(id="empty", markup=False)
        yield Input(placeholder="part of a name, model, objective or state", id="filter")

    def on_mount(self) -> None:
        self.query_one("#filter", Input).can_focus = False
        self.table.choose(listing.columns(self.wide))
        self.look()
        self.every(REFRESH, self.tick)
        self.app.theme_changed_signal.subscribe(self, lambda _: self.draw())

    def resized(self) -> None:
        here = self.highlighted
        self.table.choose(listing.columns(self.wide))
        self.draw(here)
        self.preview()

    def on_screen_resume(self) -> None:
        self.look()
        self.preview()

    @property
    def table(self) -> RunTable:
        return self.query_one(RunTable)

    def tick(self) -> None:
        """Look again, unless the folder is so slow that the last look still goes on."""
        if not self.reading:
            self.look()

    @work(exclusive=True, group="look", exit_on_error=False)
    async def look(self) -> None:
        """Read every run's status, off the event loop, and draw: also where no run changed, their ages did."""
        if not self.on_top and self.rows is not None:
            return
        self.reading = True
        try:
            found = await asyncio.to_thread(self.mio.index.read)
        except RunError as error:
            self.query_one("#head", Static).update(line(error))
            self.ages = None  # the next look draws over it
            return
        finally:
            self.reading = False
        ages = listing.ages(found)
        changed, aged = found != self.rows, ages != self.ages
        self.rows, self.ages = found, ages
        if changed or aged:
            self.draw()
            self.tell_small()
        if changed:
            self.preview()

    def draw(self, here: str = "") -> None:
        """Show the rows that pass the filter, in order; the cursor stays on its run, or goes to `here`."""
        if self.rows is None:
            return
        if self.has_class("-empty") == bool(self.rows):
            self.set_class(not self.rows, "-empty")
            self.refresh_bindings()
        if self.rows and self.focused is None:
            self.table.focus()  # a table that was hidden has lost it
        self.query_one("#head", Static).update(listing.head(self.rows, self.mio.folder, self.sort, self.words))
        if not self.rows:
            self.query_one("#empty", Static).update(listing.empty(self.mio.folder))
            return
        shown = listing.arrange(self.rows, self.words, self.sort)
        self.marked = [name for name in self.marked if any(row.name == name for row in self.rows)]
        cells = [listing.cells(self.app, row, row.name in self.marked, self.wide) for row in shown]
        self.table.show([row.name for row in shown], cells, here)

    @property
    def highlighted(self) -> str:
        """The name of the run under the cursor."""
        return self.table.highlighted

    @property
    def run(self) -> Run | None:
        name = self.highlighted
        return Run(self.mio.folder / name) if name else None

    def state(self, run: Run) -> str:
        """The run's state as it was last read."""
        return next((row.state for row in self.rows or [] if row.name == run.name), "damaged")

    def preview(self) -> None:
        """Show the highlighted run beside the table, where there is room and somebody looks."""
        if not (self.wide and self.on_top and self.run):
            return
        from mio_tui.run_preview import RunPreview

        side = self.query_one("#side", Vertical)
        found = side.query(RunPreview)
        shown = found.first() if found else None
        if shown is None:
            shown = RunPreview()
            side.mount(shown)
        shown.show(self.run)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        self.preview()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        if run := self.run:
            self.mio.show_run(run)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        empty = self.rows == []
        if action == "demo":
            return empty
        return not (empty and action in OF_A_RUN)

    def action_demo(self) -> None:
        """The empty state's own key."""
        self.mio.action_demo()

    def action_cursor(self, by: int) -> None:
        """Move by rows."""
        self.table.move_cursor(row=self.table.cursor_row + by)

    def action_mark(self) -> None:
        """Mark the run for a comparison, or take the mark away."""
        name = self.highlighted
        if name in self.marked:
            self.marked.remove(name)
        elif name and len(self.marked) < MOST_MARKS:
            self.marked.append(name)
        elif name:
            self.notify(f"{MOST_MARKS} runs can be compared at once", markup=False)
        self.draw()

    def action_compare(self) -> None:
        """Compare the marked runs; without marks, the highlighted one."""
        chosen = self.marked or [self.highlighted]
        self.mio.compare(Run(self.mio.folder / name) for name in chosen if name)

    def action_chat(self) -> None:
        """Chat with the marked runs' adapters; without marks, with the highlighted one's."""
        if names := [name for name in self.marked or [self.highlighted] if name]:
            self.mio.chat(ChatStart(names))

    def action_resume(self) -> None:
        """Go on with the run in the background, and watch it."""
        if not (run := self.run):
            return
        state = self.state(run)
        if state == "paused":
            if not self.mio.ask(run, "resume"):
                return
        elif state not in RESUMABLE:
            self.notify(f"{run.name} is {state}: nothing to resume", markup=False)
            return
        elif not self.mio.start([run]):
            return
        self.mio.show_run(run)

    def action_again(self) -> None:
        """A new run that begins with this one's settings."""
        if run := self.run:
            self.mio.new_like(run)

    def action_copy(self) -> None:
        """Copy the folder's path."""
        if run := self.run:
            try:
                self.app.copy_to_clipboard(str(run.path))
            except UnicodeEncodeError:
                self.mio.complain(f"{run.path}: not copied, as this name is no text")
                return
            self.notify(str(run.path), title="copied", markup=False)

    def action_sort(self) -> None:
        """The next order."""
        self.sort = listing.SORTS[(listing.SORTS.index(self.sort) + 1) % len(listing.SORTS)]
        self.draw()

    def action_filter(self) -> None:
        """Type a part of a name."""
        self.add_class("-filtering")
        box = self.query_one("#filter", Input)
        box.can_focus = True
        box.focus()

    def action_leave_filter(self) -> None:
        """Show all runs again."""
        box = self.query_one("#filter", Input)
        if self.has_class("-filtering"):
            box.value = self.words = ""
            self.end_filter()
        self.marked = []
        self.draw()

    def end_filter(self) -> None:
        """Back to the table."""
        self.set_class(bool(self.words), "-filtering")
        self.query_one("#filter", Input).can_focus = False
        self.table.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.words = event.value.strip()
        self.draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.end_filter()

    def short(self) -> str:
        living = [row for row in self.rows or [] if row.live]
        return " ".join(line(f"{row.name} {row.step}").plain for row in living[:1])
