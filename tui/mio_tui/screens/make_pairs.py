"""Make pairs: which model answers which prompts, how, and who judges; then the making is begun."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input

from mio_local.errors import MioError
from mio_tui.background_thread import aside
from mio_tui.base import MioScreen
from mio_tui.dialogs import Answer, Ask
from mio_tui.formatting import block, line
from mio_tui.make.make_draft import JUDGE, MODEL, OUT, PROMPTS, RUN, MakeDraft
from mio_tui.make.making_process import MakingProcess
from mio_tui.make.making_screen import MakingScreen, work
from mio_tui.make.offered import TITLES, offered
from mio_tui.new.key_field import Field, Fields, field_id
from mio_tui.new.lookups.suggestions import Offer
from mio_tui.new.path_input import PathInput
from mio_tui.new.steps.data_list import DataList
from mio_tui.static_text import StaticText

ROWS = (
    ((MODEL, "model", "a folder, or a name on the hub"),),
    ((RUN, "of run", "its adapter answers; empty: the model itself"),),
    ((PROMPTS, "prompts", "a file, a folder, or a dataset on the hub"),),
    ((JUDGE, "judge", ""),),
    (("make.answers", "answers", ""), ("make.temperature", "temperature", ""), ("make.answer_tokens", "longest", "")),
    (("make.limit", "limit", ""), ("make.top_p", "top p", ""), ("train.seed", "seed", "")),
    ((OUT, "out file", "a .jsonl file"),),
)
KEYS_IN_ORDER = tuple(key for row in ROWS for key, _, _ in row)
PATHS = (MODEL, PROMPTS, JUDGE, OUT)  # what tab completes


class MakeField(Field):
    """A field whose input completes paths, where it may hold one."""

    def compose(self) -> ComposeResult:
        for widget in super().compose():
            if isinstance(widget, Input) and self.key in PATHS and not isinstance(widget, PathInput):
                widget = PathInput(self.value, placeholder=self.placeholder)
                widget.cursor_blink = False
            yield widget


class MakePairsScreen(MioScreen[None]):
    """Nothing is drawn before it is asked for. `tables`: the recipe that the pairs are for, as far as it is known."""

    TITLE_WORDS = "Make pairs"
    HELP_WORDS = (
        "For prompts without pairs: the model, or a run's adapter, draws several answers to each, and a judge rewards\n"
        "them; the best and the worst become a pair. Most judges go by the known answers of the data.\n"
        "Enter goes on from field to field, and from the last one begins; ↑ ↓ move, tab completes a path.\n"
        "Page down leads to the list below, which has what goes with the field: models, runs, data, judges.\n"
        "^r reviews the out file by hand, and so does enter in the list of those made before: a review\n"
        "that was left goes on where it was."
    )
    DEFAULT_CSS = """
    MakePairsScreen {
        Fields { height: auto; padding: 0 1; }
        .row { height: 1; }
        .row Field .name { width: 12; }
        .row Field .hint { display: none; }
        .row Field Input { width: 1fr; }
        #why { height: 2; padding: 0 1; color: $text-muted; }
        #why.-wrong { color: $error; }
        DataList { margin: 0 1; }
        DataList.-gone { visibility: hidden; }
        #line { height: auto; max-height: 4; padding: 0 1; background: $panel; }
        &.-narrow #line { max-height: 3; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "make", "Make them", key_display="^s", priority=True),
        Binding("pagedown", "list", "To the list", show=False),
        Binding("ctrl+r", "review", "Review by hand", key_display="^r", priority=True),
        Binding("ctrl+y", "copy", "Copy the command line", show=False, key_display="^y"),
        Binding("escape", "leave", "Back"),
    ]

    def __init__(self, folder: Path, tables: dict[str, Any]) -> None:
        super().__init__()
        self.draft = MakeDraft(folder, tables)
        self.offers: dict[str, list[Offer]] = {}
        self.at = MODEL  # the key of the field that has, or last had, the focus

    def body(self) -> ComposeResult:
        yield StaticText(line("Make pairs: answers to prompts, judged", style="bold"), classes="head")
        with MakeFields():
            for row in ROWS:
                with Horizontal(classes="row"):
                    for key, name, words in row:
                        default = words or self.draft.text(key)
                        yield MakeField(key, name, self.draft.text(key), placeholder=default, classes="-text")
        yield StaticText(id="why")
        yield DataList("", "page down: to this list", "")
        yield StaticText(id="line")

    def on_mount(self) -> None:
        self.mio.before_keys(lambda: self.focus_now(PROMPTS if self.draft.text(MODEL) else MODEL))
        self.run_worker(self._offer(), exit_on_error=False)
        self.tell()

    async def _offer(self) -> None:
        self.offers = await aside(offered, self.draft.folder)
        self.tell()

    def short(self) -> str:
        return "Make pairs"

    def field(self, key: str) -> Field:
        """The field of a key."""
        return self.query_one(f"#{field_id(key)}", Field)

    def focus_now(self, key: str) -> None:
        """Put the focus on a field, before the next key is heard."""
        self.at = key
        self.set_focus(self.field(key).query_one(Input))
        self.tell()

    def tell(self) -> None:
        """What is wrong, or what the field is for; what goes with it; the command line."""
        key = self.at
        wrong, why = (key, self.draft.error(key)) if self.draft.error(key) else self.draft.wrong(KEYS_IN_ORDER)
        name = {key: name for row in ROWS for key, name, _ in row}.get(wrong, "")
        said = line(f"✗ {name}: {why}" if wrong else self.draft.hint(key), 300)
        said.no_wrap = False
        self.query_one("#why", StaticText).show(said)
        self.query_one("#why").set_class(bool(wrong), "-wrong")
        self._list(key)
        _, missing = self.draft.missing()
        words = missing or self.draft.command_line() or "once the settings are valid"
        text = Text("the same from the command line  " * self.wide, style="bold")
        self.query_one("#line", StaticText).show(text.append_text(block(words, 1000, style="not bold")), layout=True)

    def _list(self, key: str) -> None:
        files = self.query_one(DataList)
        files.set_class(key not in TITLES, "-gone")
        if key in TITLES:
            title, nothing = TITLES[key]
            files.border_title = title
            offers, typed = self.offers.get(key, []), self.draft.text(key)
            files.offer(offers, nothing if self.offers else "looking…")
            files.narrow("" if any(one.source == typed for one in offers) or key == OUT else typed)

    def resized(self) -> None:
        self.tell()

    # keys and edits

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        field = next((node for node in event.widget.ancestors if isinstance(node, Field)), None)
        if field and field.key != self.at:
            self.at = field.key
            self.tell()

    def on_field_changed(self, event: Field.Changed) -> None:
        event.stop()
        self.draft.set(event.key, event.value.strip())
        self.tell()

    def on_data_list_chosen(self, event: DataList.Chosen) -> None:
        event.stop()
        key, source = self.at, event.offer.source
        self.draft.set(key, source)
        field = self.field(key)
        field.put(source)
        goes_on = source.endswith(":")  # what stands behind it is to be typed
        box = field.query_one(Input)
        box.select_on_focus, box.cursor_position = not goes_on, len(source)
        self.focus_now(key)
        if key == OUT:  # it was made before
            self.action_review()
        elif not goes_on:
            self.after(field)

    def after(self, field: Field) -> None:
        """Enter leads from field to field, and from the last one on."""
        at = KEYS_IN_ORDER.index(field.key) + 1
        if at < len(KEYS_IN_ORDER):
            self.focus_now(KEYS_IN_ORDER[at])
        else:
            self.action_make()

    def action_list(self) -> None:
        """From the field to the list."""
        files = self.query_one(DataList)
        if files.listed and not files.has_class("-gone"):
            self.set_focus(files)  # now: enter may be the next key, which would begin the making in the last field

    def action_copy(self) -> None:
        """The command line."""
        if words := self.draft.command_line():
            self.app.copy_to_clipboard(words)
            self.notify(words, title="copied", markup=False)

    def action_make(self) -> None:
        """Begin, or say what is missing or wrong."""
        draft = self.draft
        key, why = draft.missing()
        if not key:
            key, why = draft.wrong(KEYS_IN_ORDER)
        if key:
            self.mio.complain(why)
            self.focus_now(key)
            return
        if making := at_work(self.mio.commands):
            self.notify(f"{making.title} is not over yet; x stops it", severity="warning", markup=False)
            self.app.push_screen(MakingScreen(making))
            return
        try:
            columns = max(self.size.width - 4, 56)
            making = MakingProcess(draft.words(), draft.file, draft.to_train(), draft.command_line(), columns)
        except MioError as error:
            self.mio.complain(error)
            return
        work(self, making)
        self.app.push_screen(MakingScreen(making))

    def action_review(self) -> None:
        """Review the out file by hand, where it is there."""
        try:
            file = self.draft.file
            known = self.draft.text(MODEL) or self.draft.text(RUN)
            tables = self.draft.to_train() if known else {}
        except MioError as error:
            self.mio.complain(error)
            return
        if file.is_file():
            self.mio.review_pairs(file, tables)
        else:
            self.mio.complain(f"{self.draft.text(OUT)}: is not there yet; make the pairs first")

    def action_leave(self) -> None:
        """From the list to its field, from there out; ask where something was entered."""
        if self.query_one(DataList).has_focus:
            self.focus_now(self.at)
        elif self.draft.touched and not any(isinstance(one, MakingProcess) for one in self.mio.commands):
            answer = Answer("l", "leave", "Leave; what was entered is lost")
            self.app.push_screen(Ask("Leave this page?", "", [answer]), self._left)
        else:
            self.dismiss()

    def _left(self, answer: str | None) -> None:
        if answer:
            self.dismiss()


class MakeFields(Fields):
    """Hands on where enter leads."""

    def after(self, field: Field) -> None:
        cast("MakePairsScreen", self.screen).after(field)


def at_work(commands: Sequence[object]) -> MakingProcess | None:
    """The making that is not over; None where there is none."""
    return next((one for one in commands if isinstance(one, MakingProcess) and not one.over), None)


def open_making(folder: Path, commands: Sequence[object], tables: dict[str, Any]) -> MioScreen[None]:
    """The making that is at work; else the form."""
    making = at_work(commands)
    return MakingScreen(making) if making else MakePairsScreen(folder, tables)
