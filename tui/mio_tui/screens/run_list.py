"""Every run with its state; the first screen."""

from importlib import import_module
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Input, Static

from mio_local.runs.directory import RESUMABLE
from mio_local.runs.summary import Row
from mio_tui.actions.acting import Acting
from mio_tui.actions.run_actions import MOST_COMPARED, Meant
from mio_tui.background_thread import aside
from mio_tui.formatting import line
from mio_tui.runs import listing
from mio_tui.runs.bulk import Bulk
from mio_tui.runs.run_columns import Order, next_column
from mio_tui.runs.runtable import RunTable

REST = 0.2  # seconds that the cursor stays on a run before its curves are read
OF_A_RUN = ("mark", "compare", "chat", "resume", "delete", "filter", "sort", "turn", "again", "copy", "actions")


class RunsScreen(Bulk, Acting):
    """The table of runs, and beside it, where there is room, the curves of the highlighted one."""

    TITLE_WORDS = "Runs"
    HELP_WORDS = (
        "Δchosen is the change of the chosen answers' log-prob against the untrained model, nats per answer; acc the "
        "share of pairs whose chosen answer gained more, a dash before the first step, where all are even. They and "
        "the loss are of the held-out pairs; where nothing was held out, of the last training batch.\n"
        "Marks ▸ choose the runs to compare, chat with, stop or delete. A click on a title orders by it.\n"
        "● training  ‖ paused  ✓ done  ■ stopped  ✗ failed  ? lost: its process is gone  ◌ starting or queued"
    )
    DEFAULT_CSS = """
    RunsScreen {
        #empty { display: none; height: 1fr; padding: 1 2; }
        &.-empty #empty { display: block; }
        &.-empty #main { display: none; }
        #main { height: 1fr; }
        #side { display: none; width: 25%; min-width: 36; max-width: 56; }
        &.-wide #side { display: block; }
        #facts { height: 1; padding: 0 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }
        #remarks { height: 2; padding: 0 1; background: $panel; }
        &.-empty #facts, &.-empty #remarks { display: none; }
        #filter { display: none; height: 1; border: none; padding: 0 1; background: $panel; }
        &.-filtering #filter { display: block; }
    }
    """
    OWN = (*Acting.OWN, "delete")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "app.new_run", "New run", id="runs.new"),
        Binding("full_stop", "actions", "Actions", key_display=".", tooltip="all that can be done with a run"),
        Binding("d", "demo", "Demo run", id="runs.demo"),
        Binding("m", "app.make_pairs", "Make pairs", show=False, id="runs.make_pairs"),
        Binding("space", "mark", "Mark", id="runs.mark"),
        Binding("c", "compare", "Compare", id="runs.compare"),
        Binding("t", "chat", "Chat", id="runs.chat"),
        Binding("r", "resume", "Resume", id="runs.resume"),
        Binding("d", "delete", "Delete", show=False, id="runs.delete"),
        Binding("u", "undelete", "Take back what was deleted last", show=False, id="runs.undelete"),
        Binding("x", "stop", "Stop", id="runs.stop"),
        # with priority: else what is typed in the same moment would still be the table's keys, `d` among them
        Binding("slash", "filter", "Filter", key_display="/", show=False, priority=True, id="runs.filter"),
        Binding("s", "sort", "Order by the next column", show=False, id="runs.sort"),
        Binding("S", "turn", "Turn the order", show=False, id="runs.turn"),
        Binding("e", "again", "New run with this one's settings", show=False, id="runs.again"),
        Binding("y", "copy", "Copy the run's folder", show=False, id="runs.copy"),
        Binding("D", "app.demo", "Demo: MIO, then DPO, on the shipped model", show=False, id="runs.demo_any"),
        Binding("escape", "leave_filter", "Clear filter and marks", show=False),
        Binding("q", "app.leave", "Quit", id="runs.quit"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.order = Order()
        self.alive = False  # whether any run trains, or waits to
        self.words = ""
        self.resting: Timer | None = None
        self.said: dict[str, Text] = {}

    def body(self) -> ComposeResult:
        yield Static(id="head", classes="head", markup=False)
        with Horizontal(id="main"):
            yield RunTable()
            yield Vertical(id="side")
        yield Static(id="facts", markup=False)
        yield Static(id="remarks", markup=False)
        yield Static(id="empty", markup=False)
        yield Input(placeholder="part of a name, model, objective, state or tag", id="filter")

    def on_mount(self) -> None:
        self.query_one("#filter", Input).can_focus = False
        self.app.theme_changed_signal.subscribe(self, lambda _: self.table.refresh())

    def resized(self) -> None:
        self.preview()

    @property
    def table(self) -> RunTable:
        return self.query_one(RunTable)

    @property
    def row(self) -> Row | None:
        return self.table.row

    def draw(self) -> None:
        """Show the rows that pass the filter, in order."""
        if self.rows is None:
            return
        alive = any(row.live or row.after for row in self.rows)
        if self.has_class("-empty") == bool(self.rows) or alive != self.alive:
            self.alive = alive
            self.set_class(not self.rows, "-empty")
            self.refresh_bindings()
        if self.rows and self.focused is None:
            self.set_focus(self.table)  # a table that was hidden has lost it
        if not self.rows:
            self.query_one("#empty", Static).update(listing.empty(self.mio.folder))
        shown = listing.arrange(self.rows, self.words, self.order)
        there = {row.name for row in self.rows}
        self.marked = [name for name in self.marked if name in there]
        self.table.show(shown, self.marked, self.order, self.needed)
        if self.restored in self.table.names:
            self.table.move_cursor(self.table.names.index(self.restored))
            self.restored = ""
        self.tell()

    def tell(self) -> None:
        """The lines above and below the table."""
        order = "" if self.order == Order() else self.order.words
        marked = f"▸ {len(self.marked)} marked" if self.marked else ""
        more = (marked, order, f"reading {self.left} more…" if self.left else "")
        head = listing.head(self.rows or (), len(self.table.rows), self.words, more)
        said = {
            "head": line(self.trouble) if self.trouble else head,
            "facts": listing.facts(self.row),
            "remarks": listing.remarks(self.row),
        }
        for place, words in said.items():
            if words != self.said.get(place):
                self.query_one(f"#{place}", Static).update(words, layout=False)
        self.said = said

    def preview(self) -> None:
        """Show the highlighted run beside the table, once the cursor rests there."""
        if self.resting:
            self.resting.stop()
        self.resting = self.set_timer(REST, self.show_preview)

    @work(exclusive=True, group="preview", exit_on_error=False)
    async def show_preview(self) -> None:
        """The curves, where there is room and somebody looks."""
        if not (self.wide and self.on_top and self.run):
            return
        await aside(import_module, "mio_tui.runs.run_preview")  # with numpy: no key waits for it
        from mio_tui.runs.run_preview import RunPreview

        side = self.query_one("#side", Vertical)
        if not side.query(RunPreview):
            await side.mount(RunPreview())
        side.query_one(RunPreview).show(self.run)

    def on_run_table_highlighted(self) -> None:
        self.tell()
        self.preview()

    def on_run_table_opened(self) -> None:
        if run := self.run:
            self.mio.show_run(run)

    def on_run_table_head_clicked(self, event: RunTable.HeadClicked) -> None:
        turned = not self.order.turned if event.column == self.order.column else False
        self.order_by(Order(event.column, turned))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        empty = self.rows == []
        if action == "demo":
            return empty
        if action == "stop":
            return self.alive
        if action == "filter" and isinstance(self.focused, Input):
            return False
        return not (empty and action in OF_A_RUN)

    def action_demo(self) -> None:
        """The empty state's own key."""
        self.mio.action_demo()

    def action_mark(self) -> None:
        """Mark the run, or take the mark away."""
        name = self.table.highlighted
        if name in self.marked:
            self.marked.remove(name)
        elif name:
            self.marked.append(name)
        self.draw()

    def action_compare(self) -> None:
        """Compare the marked runs; without marks, the highlighted one."""
        if self.few():
            self.mio.compare(self.chosen)

    def action_chat(self) -> None:
        """Chat with the marked runs' adapters; without marks, with the highlighted one's."""
        if self.chosen and self.few():
            from mio_local.chat.start import ChatStart

            self.mio.chat(ChatStart([run.name for run in self.chosen]))

    def few(self) -> bool:
        """Whether the marked runs can be shown side by side, else said to the user."""
        if len(self.marked) > MOST_COMPARED:
            words = f"{len(self.marked)} runs are marked; {MOST_COMPARED} can be compared at once"
            self.notify(words, severity="warning", markup=False)
        return len(self.marked) <= MOST_COMPARED

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
        self._do_with_run("again")

    def action_copy(self) -> None:
        """Copy the folder's path."""
        self._do_with_run("copy")

    def _do_with_run(self, name: str) -> None:
        """One of ACTIONS, with the run under the cursor whatever is marked."""
        if self.run and self.row:
            self.perform(Meant((self.run,), self.row), name)

    def action_sort(self) -> None:
        """Order by the next column that is shown."""
        self.order_by(Order(next_column(self.table.places, self.order.column)))

    def action_turn(self) -> None:
        """Turn the order round."""
        self.order_by(Order(self.order.column, not self.order.turned))

    def order_by(self, order: Order) -> None:
        """Show the rows in this order."""
        self.order = order
        self.draw()

    def action_filter(self) -> None:
        """Type a part of a name."""
        self.add_class("-filtering")
        box = self.query_one("#filter", Input)
        box.can_focus = True
        self.set_focus(box)

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
        self.set_focus(self.table)

    def on_input_changed(self, event: Input.Changed) -> None:
        self.words = event.value.strip()
        self.draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.end_filter()

    def short(self) -> str:
        living = [row for row in self.rows or [] if row.live]
        return " ".join(line(f"{row.name} {row.step}").plain for row in living[:1])
