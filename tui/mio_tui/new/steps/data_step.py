"""Step 2: the pairs, read and tokenised by the preview process exactly as the training will."""

import os
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Input, Static

from mio_local.errors import MioError
from mio_local.preview.preview_client import Preview, PreviewError
from mio_tui.background_thread import aside
from mio_tui.base import Mio
from mio_tui.formatting import line
from mio_tui.new import stock
from mio_tui.new.key_field import Field, editor
from mio_tui.new.lookups.suggestions import offered_data
from mio_tui.new.state import READING, TRUST_KEY, Data, State, Step
from mio_tui.new.steps.columns import Columns
from mio_tui.new.steps.data_list import DataList
from mio_tui.new.steps.pair import facts_text
from mio_tui.new.steps.pairview import PairView
from mio_tui.new.steps.remedies import HELD_OUT_KEY, Remedies, beside

PAUSE = 0.4  # seconds without a key before the pairs are read anew
ROUNDS = "prompts, read when the training starts: rounds of the model's own answers"
FIELDS = (("data.split", "split"), ("data.limit", "limit"), ("data.max_tokens", "max tokens"))


class DataStep(Step):
    """Where the pairs are, which columns they are in, how they look, and what is wrong with them."""

    DEFAULT_CSS = """
    DataStep {
        .row { height: 1; }
        .row Field .name { width: 11; }
        .row Field Input { width: 1fr; }
        .row Field .hint { display: none; }
        #data-error { height: auto; max-height: 4; color: $error; display: none; }
        #data-busy { height: auto; padding: 1 0; color: $text-muted; }
        #data-facts { height: auto; max-height: 8; }
        #data-error.-shown { display: block; }
        DataList.-gone, #pair.-gone { display: none; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pagedown", "list", "To the list", show=False),
        Binding("f5", "make", "Make pairs of prompts", show=False),
    ]

    def __init__(self, state: State) -> None:
        super().__init__(state, "step-data")
        self.preview = Preview()
        self._pause: Timer | None = None
        self._reopened: object = None  # the key of what was opened again after the process died
        self._refocus = False

    def compose(self) -> ComposeResult:
        text = self.state.draft.text
        source = editor("data.source", "data", text("data.source"), "-text")
        source.placeholder = "a file, a folder, or a dataset on the hub; enter opens it"
        with Vertical(classes="row"):
            yield source
        with Horizontal(classes="row"):
            yield editor("data.eval_source", "held out", text("data.eval_source"), "-text")
        with Horizontal(classes="row"):
            for key, name in FIELDS:
                yield editor(key, name, text(key))
        yield Columns()
        yield Static(id="data-error", markup=False)
        yield Remedies()
        yield DataList()
        yield PairView()
        yield Static(id="data-facts", markup=False)

    def on_mount(self) -> None:
        held_out = self.query_one("#field-data-eval_source", Field).query_one(Input)
        held_out.placeholder = "a file of its own; empty holds out 5 % of the prompts"
        self._run(self._list_files, "files")
        self._run(self._warm, "warm")

    async def on_unmount(self) -> None:
        await self.preview.close()

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]], group: str) -> None:
        self.run_worker(work, group=group, exclusive=True, exit_on_error=False)

    async def _warm(self) -> None:
        """Start the process now: it takes seconds to import what it needs."""
        try:
            await self.preview.start()
        except MioError as error:
            self.state.data.error = str(error)
            self.tell()

    async def _list_files(self) -> None:
        offers = await aside(offered_data, self.state.folder)
        self.query_one(DataList).offer(offers)

    def enter(self) -> None:
        if self.state.data.opened and self.current:
            self.query_one(PairView).focus()
        else:
            self.query_one("#field-data-source Input").focus()
        self.sync()

    # what is open

    @property
    def current(self) -> bool:
        """Whether what is shown is what the draft says."""
        return self.state.data.key is not None and self.state.data.key == self.state.wanted()

    def sync(self, again: bool = False) -> None:
        """Open what the draft says, unless that is open."""
        wanted = self.state.wanted()
        if wanted is None or not self.is_mounted:
            return
        if again or self.state.data.key != wanted:
            self.state.data = Data(key=wanted, busy=f"opening {stock.shown(self.state.draft.text('data.source'))}…")
            self._run(partial(self._open, *wanted), "preview")
        self.tell()

    def on_pair_view_lost(self, event: PairView.Lost) -> None:
        """The process died while nothing else was asked of it: open again, and say so where that did not help."""
        event.stop()
        data = self.state.data
        if not data.opened or not self.current:
            return  # what was lost is not wanted any more
        if self._reopened != data.key:
            self._reopened = data.key
            self._refocus = self.query_one(PairView).has_focus
            self.sync(again=True)
            return
        self._reopened = None
        self.state.data = Data(error=event.words)
        self._found()

    async def _open(self, settings: dict[str, Any], model: dict[str, Any], seed: int, loss: dict[str, Any]) -> None:
        data = self.state.data
        data.beside = await aside(beside, settings["source"])
        try:
            data.opened = await self._ask_open(data, settings, model, seed, loss)
        except PreviewError as error:
            data.error = str(error)
            await self.query_one(Columns).put(error.answer, settings["columns"])
        except MioError as error:  # the process died: ask again next time
            data.key, data.error = None, str(error)
        data.busy = ""
        self._found()
        if not data.opened:
            return
        await self.query_one(Columns).put(data.opened, settings["columns"])
        alive = await self.query_one(PairView).open(self.preview, int(data.opened.get("pairs", 0)))
        self.tell()
        if self._refocus and self.display:  # it was hidden meanwhile
            self.query_one(PairView).focus()
        self._refocus = False
        if alive and data.opened.get("tokens"):
            alive = await self._count(data)
        if alive:
            self._reopened = None

    async def _ask_open(
        self, data: Data, settings: dict[str, Any], model: dict[str, Any], seed: int, loss: dict[str, Any]
    ) -> dict[str, Any]:
        """Open with the model's tokens; as plain text where the model is what fails."""
        try:
            return await self.preview.ask("open", data=settings, model=model, seed=seed, loss=loss)
        except PreviewError as error:
            if not model["name"] or error.answer.get("available"):
                raise
            data.untokenised = str(error)
            return await self.preview.ask("open", data=settings, model={"name": ""}, seed=seed, loss=loss)

    async def _count(self, data: Data) -> bool:
        """Fetch the statistics over all pairs; whether the process lives."""

        def progress(done: int, total: int) -> None:
            data.progress = (done, total)
            self.tell()

        data.progress = (0, int(data.opened.get("pairs", 0)))
        try:
            answer = await self.preview.summary(progress)
        except PreviewError as error:
            data.warnings = [str(error)]
        except MioError as error:
            self.post_message(PairView.Lost(str(error)))
            return False
        else:
            data.summary = answer.get("summary", {})
            data.warnings = answer.get("warnings", [])
            data.stops = answer.get("stops", "")
        data.progress = (0, 0)
        self._found()
        return True

    def _found(self) -> None:
        self.tell()
        self.post_message(self.Found())

    # the screen

    def tell(self) -> None:
        data, draft = self.state.data, self.state.draft
        errors = draft.errors()
        wrong = next((f"{key} {errors[key]}" for key, _ in (("data.source", ""), *FIELDS) if key in errors), "")
        trouble = wrong or ((data.error or data.stops) if self.current or data.key is None else "")
        error = self.query_one("#data-error", Static)
        error.update(line(f"✗ {trouble}", 400))
        error.set_class(bool(trouble), "-shown")
        offered = data.beside if self.current and not draft.text(HELD_OUT_KEY) else ""
        self.query_one(Remedies).tell(trouble, offered)
        shown = bool(data.opened) and self.current
        self.query_one(PairView).set_class(not shown, "-gone")
        files = self.query_one(DataList)
        files.set_class(shown or bool(data.busy and self.current), "-gone")
        files.narrow(draft.text("data.source"))
        facts = self.query_one("#data-facts", Static)
        busy = ROUNDS if self.state.rounds else data.busy if self.current else ""
        facts.update(facts_text(data) if shown else line(busy, style="bold"))

    def action_list(self) -> bool:
        """From the fields to the list; whether there is one."""
        files = self.query_one(DataList)
        if offered := bool(files.display and files.listed):
            files.focus()
        return offered

    def action_make(self) -> None:
        """No pairs yet: make some with this model."""
        cast("Mio", self.app).make_pairs(self.state.draft.tables())

    # keys and edits

    def on_field_changed(self, event: Field.Changed) -> None:
        event.stop()
        draft = self.state.draft
        if event.key == "data.source":
            draft.choose_source(event.value.strip())
            self.query_one("#field-data-split", Field).put(draft.text("data.split"))
        else:
            draft.set(event.key, event.value.strip())
        self.tell()
        self.post_message(self.Changed(event.key))

    def sync_soon(self, key: str) -> None:
        """A key was edited, here or elsewhere: read the pairs anew once the typing pauses."""
        if not key.startswith("data.") and key not in (*READING, TRUST_KEY):
            return
        if self._pause:
            self._pause.stop()
        if key != "data.source" or os.path.isfile(os.path.expanduser(self.state.draft.text("data.source"))):
            self._pause = self.set_timer(PAUSE, self.sync)  # a name on the hub waits for enter

    def after(self, field: Field) -> None:
        """Enter opens what was typed, or leads to the list where that is nothing; once it is open it leads on."""
        if field.key == "data.source" and not field.value:
            self.action_list()
        elif field.key == "data.source" and not (self.current and self.state.data.opened):
            self.sync()
        else:
            super().after(field)

    def below(self, field: Field) -> bool:
        """Down leads from the name of the data to the list of what is here, as it does from a model's name."""
        return field.key == "data.source" and self.action_list()

    def on_data_list_chosen(self, event: DataList.Chosen) -> None:
        event.stop()
        self.state.draft.choose_data(event.offer.source, event.offer.settings)
        self._refocus = True  # the list is hidden once its pairs are there
        self.put_all()
        self.post_message(self.Changed("data.source"))
        self.sync()

    def on_columns_changed(self, event: Columns.Changed) -> None:
        event.stop()
        columns = {**self.state.draft.value("data.columns"), event.role: event.column}
        self.state.draft.set("data.columns", {role: column for role, column in columns.items() if column})
        self.post_message(self.Changed("data.columns"))
        self.sync()

    def on_remedies_chosen(self, event: Remedies.Chosen) -> None:
        event.stop()
        self.state.draft.set(event.key, event.value)
        self.put_all()
        self.post_message(self.Changed(event.key))
        self.query_one(PairView).focus()
        self.sync()
