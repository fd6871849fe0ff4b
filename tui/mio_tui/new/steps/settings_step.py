"""Step 3: how to train. Every key of the recipe can be reached here."""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import ClassVar, cast

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Button

from mio_local.objectives.losses import LOSSES
from mio_tui.base import Mio
from mio_tui.formatting import line
from mio_tui.new.checks import DATA, MODEL
from mio_tui.new.draft import KEYS
from mio_tui.new.key_field import Field, editor, field_id
from mio_tui.new.lookups.lasting import about
from mio_tui.new.state import State, Step
from mio_tui.new.steps.effort import EFFORT, EFFORTS, effort_of
from mio_tui.new.steps.facts import facts
from mio_tui.new.steps.place import Place
from mio_tui.static_text import StaticText

BOTH = "both"
MAIN = {
    "loss.name": "objective",
    "loss.beta": "beta",
    "train.learning_rate": "learning rate",
    "train.epochs": "epochs",
    "train.steps": "steps",
    "train.batch_size": "batch",
    "train.accumulate": "accumulate",
    "data.max_tokens": "max tokens",
    "lora.rank": "LoRA rank",
    "lora.alpha": "LoRA alpha",
    "lora.dropout": "LoRA dropout",
    "lora.layers": "LoRA layers",
    "lora.targets": "LoRA targets",
    "lora.dora": "DoRA",
    "model.quantize": "quantise",
    "train.grad_checkpoint": "recompute",
    "eval.every": "evaluate every",
    "train.save_every": "save every",
    "train.seed": "seed",
    "backend.name": "backend",
    "backend.device": "device",
}
ELSEWHERE = ("model.name", "data.source")  # the steps before
REST = [key for key in KEYS if key not in MAIN and key not in ELSEWHERE]
RUN_NAME = "run.name"
TRIES, PAUSE = 200, 0.01  # looks, and seconds between them, until a field is mounted
HELP = {
    EFFORT: "how much of the data is trained on: sets the epochs, and takes the steps back",
    RUN_NAME: "name of the run; empty makes one from model and objective",
    "loss.name": "objective; both trains MIO, then DPO at half its beta: the same first gradient",
}


class AllFields(VerticalScroll, can_focus=False, inherit_bindings=False):
    """The fields, which page keys scroll; the arrows, which scroll such a container else, move from one to the next."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "page_up", "Scroll up", show=False),
        Binding("pagedown", "page_down", "Scroll down", show=False),
    ]


class SettingsStep(Step):
    """The form: a wrong value says why beside its field, as it is typed. Where there is room it is one page, with model
    and data, each of which enter leads to, and f4 opens all settings."""

    DEFAULT_CSS = """
    SettingsStep {
        #settings-fields { width: 1fr; height: 1fr; }
        #settings-fields Field { margin: 0; }
        #settings-more { display: none; height: auto; }
        #settings-more.-shown { display: block; }
        #settings-all { height: 1; min-width: 0; width: auto; border: none; margin: 1 0; background: $background; }
        #settings-all:focus { text-style: bold reverse; }
        Place { display: none; }
        &.-wide Place { display: block; }
        #settings-help { height: 2; color: $text-muted; border-top: solid $border-blurred; }
        #settings-needs { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        &.-wide #settings-needs { display: none; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f4", "all", "All settings", show=False),
        Binding("down", "app.focus_next", "Next field", show=False),
        Binding("up", "app.focus_previous", "Field before", show=False),
    ]

    def __init__(self, state: State) -> None:
        super().__init__(state, "step-settings")
        self.focused_key = ""

    def compose(self) -> ComposeResult:
        yield AllFields(id="settings-fields")
        yield StaticText(id="settings-needs")
        yield StaticText(id="settings-help")

    def _fields(self) -> Iterator[Widget]:
        draft = self.state.draft
        objectives = [(name, name.upper()) for name in LOSSES] + [(BOTH, "MIO+DPO")]
        yield from (Place(MODEL, "model"), Place(DATA, "data"))
        yield Field("loss.name", MAIN["loss.name"], self._objective(), options=objectives)
        yield Field(EFFORT, "effort", effort_of(draft), options=EFFORTS)
        for key, name in MAIN.items():
            if key != "loss.name":
                yield editor(key, name, draft.text(key))
        yield Field(RUN_NAME, "run name", draft.name, classes="-text")
        yield Button(_all_words(shown=False), id="settings-all", compact=True)
        yield Vertical(id="settings-more")

    def _objective(self) -> str:
        return BOTH if self.state.draft.both else self.state.draft.text("loss.name")

    def enter(self) -> None:
        if not self.query(Field):  # a hundred widgets: they would make the whole form slow to open
            self.query_one("#settings-fields").mount_all(self._fields())
        self.focus_key(self.focused_key or "loss.beta")
        self.call_after_refresh(self.tell)

    def focus_key(self, key: str) -> None:
        """Put the focus on a key's field, wherever it is."""
        cast("Mio", self.app).before_keys(partial(self._focus, key))

    async def _focus(self, key: str) -> None:
        if key in REST and not self.query(f"#{field_id(key)}"):
            self.show_all()
        for _ in range(TRIES):  # it is being mounted, or removed as the app ends
            edited = next((field.edited for field in self.query(Field) if field.key == key), None)
            if edited:
                edited.focus()
                self.call_after_refresh(edited.scroll_visible, animate=False)  # once it has its place
                return
            await asyncio.sleep(PAUSE)

    def show_all(self) -> None:
        """Show the rest of the keys."""
        more = self.query_one("#settings-more", Vertical)
        more.set_class(True, "-shown")
        if not more.query(Field):
            more.mount_all(editor(key, key, self.state.draft.text(key), "-long") for key in REST)
            self.call_after_refresh(self.tell)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self._turn_all()

    def action_all(self) -> None:
        """Open all settings and go to the first of them, or close them again."""
        if self._turn_all():
            self.focus_key(REST[0])
        else:
            self.query_one("#settings-all").focus()

    def _turn_all(self) -> bool:
        """Open or close all settings; whether they are open."""
        more = self.query_one("#settings-more", Vertical)
        if more.has_class("-shown"):
            more.set_class(False, "-shown")
        else:
            self.show_all()
        shown = more.has_class("-shown")
        self.query_one("#settings-all", Button).label = _all_words(shown)  # pyright: ignore[reportAttributeAccessIssue]
        return shown

    def on_field_changed(self, event: Field.Changed) -> None:
        event.stop()
        draft = self.state.draft
        if event.key == RUN_NAME:
            draft.name = event.value.strip()
            draft.touched = True
        elif event.key == EFFORT:
            draft.set("train.epochs", event.value)
            draft.set("train.steps", "")
            self._put("train.epochs", "train.steps")
        elif event.key == "loss.name":
            draft.both = event.value == BOTH
            draft.set("loss.name", "mio" if draft.both else event.value)
            draft.touched = True
        else:
            draft.set(event.key, event.value.strip())
        if event.key in ("train.epochs", "train.steps"):
            self._put(EFFORT)
        self.post_message(self.Changed("train.epochs" if event.key == EFFORT else event.key))
        self.tell()

    def _put(self, *names: str) -> None:
        """Show these values anew: they follow from another one."""
        for field in self.query(Field):
            if field.key in names:
                field.put(self.shown_value(field.key))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        field = next((node for node in event.widget.ancestors if isinstance(node, Field)), None)
        if field:
            self.focused_key = field.key
            self.tell_help()
        elif isinstance(event.widget, Place):
            self.query_one("#settings-help", StaticText).show(line(event.widget.help))
        else:
            self.tell_help()

    def shown_value(self, key: str) -> str:
        if key == RUN_NAME:
            return self.state.draft.name
        if key == EFFORT:
            return effort_of(self.state.draft)
        return self._objective() if key == "loss.name" else super().shown_value(key)

    def tell(self) -> None:
        found = facts(self.state.draft, self.state.data)
        errors = self.state.draft.errors() | {RUN_NAME: self.state.name_error}
        for field in self.query(Field):
            field.tell(errors.get(field.key, ""), found.get(field.key, ""))
        for place in self.query(Place):
            place.tell(self.state)
        lasting = self.state.lasting
        how_long = f" · {about(lasting.seconds)}" if lasting and lasting.seconds else ""
        self.query_one("#settings-needs", StaticText).show(line(f"{self.memory_words()}{how_long}"))
        self.tell_help()

    def tell_help(self) -> None:
        """Show the help, or the whole error, of the field that has the focus."""
        if any(button.has_focus for button in self.query(Button)):
            self.query_one("#settings-help", StaticText).show(line("enter opens all settings, or closes them again"))
            return
        key = self.focused_key
        words = HELP.get(key) or (KEYS[key].description if key in KEYS else "")
        error = self.state.name_error if key == RUN_NAME else self.state.draft.error(key)
        text = line(f"{key}: {words}" if key else "", 300)
        text.no_wrap = False
        if error:
            text = line(f"✗ {error}", 300)
            text.no_wrap = False
        self.query_one("#settings-help", StaticText).show(text)


def _all_words(shown: bool) -> Text:
    return line(f"{'▾' if shown else '▸'} all settings ({len(REST)} more, f4)")
