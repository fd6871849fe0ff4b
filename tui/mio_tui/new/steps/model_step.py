"""Step 1: a model from this disk or from the hub."""

from functools import partial
from typing import ClassVar, Protocol, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.timer import Timer
from textual.widgets import DataTable, Static

from mio_local.errors import MioError, RecipeError
from mio_local.models import hub
from mio_local.models.hub import ModelCard
from mio_tui.background_thread import aside
from mio_tui.base import Mio
from mio_tui.formatting import line
from mio_tui.new import stock
from mio_tui.new.checks import DATA
from mio_tui.new.needs import Needs
from mio_tui.new.path_input import PathInput
from mio_tui.new.state import State
from mio_tui.new.steps import model_list
from mio_tui.new.steps.model_list import Row
from mio_tui.new.steps.model_search import ModelSearch

LOOK_PAUSE = 0.3


class Turning(Protocol):
    """What this step asks of its form."""

    def take_model(self, name: str) -> None: ...
    async def turn_to(self, number: int) -> None: ...


class ModelStep(ModelSearch):
    """The list is filtered at once, the hub is asked when the typing pauses, and enter chooses."""

    class Chosen(Message):
        """A model was chosen; it may have to be downloaded."""

        def __init__(self, row: Row) -> None:
            super().__init__()
            self.row = row

    DEFAULT_CSS = """
    ModelStep {
        #models { height: 1fr; }
        .note { height: 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
        #model-error { display: none; height: auto; max-height: 3; color: $error; }
        #model-error.-shown { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "Take it", show=False, priority=True),  # before the next key is heard
        Binding("slash", "search", "Search", show=False),
        Binding("down", "list", "To the list", show=False),
        Binding("pagedown", "list", "To the list", show=False),
    ]

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.rows: dict[str, Row] = {}
        self._look_pause: Timer | None = None
        self._asked = ""  # the model that was highlighted last

    def compose(self) -> ComposeResult:
        query = PathInput(placeholder="a model's name, or a folder: /… ./… ~/…", id="query")
        query.cursor_blink = False
        yield query
        yield DataTable[Text](id="models", cursor_type="row", zebra_stripes=False)
        yield Static(id="model-error", markup=False)
        yield Static(id="model-note", classes="note", markup=False)

    def on_mount(self) -> None:
        self.load_local()

    def on_resize(self) -> None:
        self.fill()

    def enter(self) -> None:
        self.query_one("#query").focus()
        self.estimate_all()

    @property
    def table(self) -> "DataTable[Text]":
        return self.query_one("#models", DataTable)

    @property
    def is_wide(self) -> bool:
        return self.size.width >= model_list.WIDE

    def load_local(self) -> None:
        """List the models on this disk."""
        self._start(self._load_local, "local")

    async def _load_local(self) -> None:
        try:
            self.shelf.local, self.shelf.used = await aside(
                stock.local_models, self.state.folder, self.state.draft.text("model.name")
            )
        except OSError as error:
            self.error = f"this disk: {error.strerror or error}"
        self.looking = ""
        self.take_card()
        self.fill()
        self.estimate_all()

    def take_card(self) -> None:
        """The draft's model, where it is one of those found; else the hub is asked for it, once."""
        name = self.state.draft.text("model.name")
        self.state.card = self.shelf.find(name)
        if name and not self.state.card and name not in self.shelf.needs and not stock.names_folder(name):
            self._start(partial(self._look_at, name), "look-chosen")
        self.post_message(self.Found())

    # the hub, and folders

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        self.post_message(self.Beside())
        self._look_soon()

    def _look_soon(self) -> None:
        """Ask the hub about the highlighted model, once it has been so for a moment, where that tells more."""
        row = self.highlighted
        name = row.card.name if row else ""
        if name == self._asked:
            return
        self._asked = name
        if self._look_pause:
            self._look_pause.stop()
        if row and not row.card.complete and name not in self.shelf.looked and not stock.is_path(name):
            look = partial(self._look_at, name)
            self._look_pause = self.set_timer(LOOK_PAUSE, lambda: self._start(look, "look"))

    async def _look_at(self, name: str) -> None:
        """The hub's full account of one model: its files' size and configuration."""
        try:
            card = await aside(hub.look, name)
        except (MioError, OSError) as error:
            self.shelf.needs[name] = Needs(unknown=str(error))
        else:
            self.shelf.looked[name] = card
            self.shelf.needs.pop(name, None)
            if self.state.draft.text("model.name") == name and not (self.state.card and self.state.card.complete):
                self.take_card()
            await self._estimate([card])
        self.fill()

    def estimate_all(self) -> None:
        """Estimate what is listed anew: the settings may have changed."""
        cards = [self.shelf.to_estimate(row) for row in self.rows.values()]
        self._start(partial(self._estimate, cards), "estimate")

    async def _estimate(self, cards: list[ModelCard]) -> None:
        try:
            recipe = self.state.draft.recipe()
        except RecipeError:
            return
        for card in cards:
            await aside(self.shelf.measure, card, recipe, self.state.data)
        if self.state.card:
            self.state.template = self.shelf.templates.get(self.state.card.name, "")
        self.fill()

    def fill(self) -> None:
        """Show the rows that match what was typed; the highlighted one stays."""
        table = self.table
        before = self.highlighted
        chosen = self.state.card.name if self.state.card else self.state.draft.text("model.name")
        download = self.state.download
        totals = {download.name: download.total} if download else {}
        self.rows = self.shelf.rows(self.typed_text, chosen, totals)
        taken = 64 if self.is_wide else 41
        width = max(12, self.size.width - taken)
        heads = model_list.columns(wide=self.is_wide)
        cells = [row.cells(wide=self.is_wide, width=width) for row in self.rows.values()]
        widths = model_list.widths(heads, cells)
        if widths == [column.width for column in table.ordered_columns]:
            table.clear()
        else:  # ours are given: the table measures once it is idle, and keeps the lines that it drew before that
            table.clear(columns=True)
            for number, head in enumerate(heads):
                table.add_column(head, width=widths[number], key=str(number))
        for name, row in zip(self.rows, cells, strict=True):
            table.add_row(*row, key=name)
        if before and before.card.name in self.rows:
            table.move_cursor(row=list(self.rows).index(before.card.name))
        self._look_soon()
        self.tell()

    @property
    def highlighted(self) -> Row | None:
        """The row under the cursor."""
        names = list(self.rows)
        at = self.table.cursor_row
        return self.rows[names[at]] if 0 <= at < len(names) else None

    def tell(self) -> None:
        words = model_list.note(self.state.download, self.rows, self.typed_text, self.looking, failed=bool(self.error))
        self.query_one("#model-note", Static).update(line(words))
        error = self.query_one("#model-error", Static)
        error.set_class(bool(self.error), "-shown")
        error.update(line(f"✗ {self.error}", 300))
        self.post_message(self.Beside())

    def beside(self) -> Text:
        """What is known of the highlighted model."""
        row = self.highlighted
        return model_list.describe(row, self.shelf.templates.get(row.card.name, "")) if row else super().beside()

    def action_search(self) -> None:
        """Back to the search."""
        self.query_one("#query").focus()

    def action_list(self) -> None:
        """From the search to the list."""
        if not self.table.has_focus and self.rows:
            self.table.focus()

    def action_take(self) -> None:
        """Enter: take the folder that was typed and go on, or take the highlighted model."""
        if stock.is_path(self.state.not_taken):
            cast("Mio", self.app).before_keys(self._take_folder)
        else:
            self.choose()

    async def _take_folder(self) -> None:
        """Take the folder that was typed, and go on, before what is typed next is heard."""
        await self._found()
        rows = list(self.rows.values())
        if len(rows) == 1 and rows[0].card.complete:
            form = cast("Turning", self.screen)
            form.take_model(rows[0].card.name)
            self.state.not_taken = ""
            await form.turn_to(DATA)
        else:
            self.choose()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        self.choose()

    async def leave(self) -> str:
        """What was typed is taken as Enter would, or it is said why not."""
        typed = self.state.not_taken
        if not typed:
            return ""
        await self._found()
        row = self.highlighted
        if not row:
            return self.error or f"{typed}: no model of that name; clear the field to keep the one that is chosen"
        if not row.chosen:
            if len(self.rows) > 1 or not row.card.complete:
                return f"{typed} is no model yet: choose one in the list with enter, or clear the field"
            self.post_message(self.Chosen(row))
        self.state.not_taken = ""
        return ""

    def choose(self) -> None:
        """Take the highlighted model; the one that is taken already leads on."""
        row = self.highlighted
        if not row:
            return
        self.state.not_taken = ""
        download = self.state.download
        loading = download and download.name == row.card.name and download.state == "running"
        if row.chosen and (row.card.complete or loading):
            self.post_message(self.Next())
            return
        self.post_message(self.Chosen(row))
