"""Step 3: how to train. Every key of the recipe can be reached here."""

from collections.abc import Iterator
from functools import partial
from typing import cast

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Button

from mio_local.objectives.losses import LOSSES
from mio_tui.base import Mio
from mio_tui.formatting import line
from mio_tui.new.draft import KEYS
from mio_tui.new.key_field import Field, editor, field_id
from mio_tui.new.needs import SIGNS
from mio_tui.new.state import State, Step
from mio_tui.new.steps.facts import facts
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
HELP = {
    RUN_NAME: "name of the run; empty makes one from model and objective",
    "loss.name": "objective; both trains MIO, then DPO at half its beta: the same first gradient",
}


class SettingsStep(Step):
    """The form: a wrong value says why beside its field, as it is typed."""

    DEFAULT_CSS = """
    SettingsStep {
        #settings-fields { width: 1fr; height: 1fr; }
        #settings-fields Field { margin: 0; }
        #settings-more { display: none; height: auto; }
        #settings-more.-shown { display: block; }
        #settings-all { height: 1; min-width: 0; width: auto; border: none; margin: 1 0; background: $background; }
        #settings-all:focus { text-style: bold reverse; }
        #settings-side { display: none; width: 44; padding: 1 0 0 2; height: 1fr; }
        #settings-help { height: 2; color: $text-muted; border-top: solid $border-blurred; }
        #settings-needs { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        &.-wide #settings-side { display: block; }
        &.-wide #settings-needs { display: none; }
    }
    """

    def __init__(self, state: State) -> None:
        super().__init__(state, "step-settings")
        self.focused_key = ""

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield VerticalScroll(id="settings-fields", can_focus=False)
            yield StaticText(id="settings-side")
        yield StaticText(id="settings-needs")
        yield StaticText(id="settings-help")

    def _fields(self) -> Iterator[Widget]:
        draft = self.state.draft
        objectives = [(name, name.upper()) for name in LOSSES] + [(BOTH, "MIO then DPO")]
        yield Field("loss.name", MAIN["loss.name"], self._objective(), options=objectives)
        for key, name in MAIN.items():
            if key != "loss.name":
                yield editor(key, name, draft.text(key))
        yield Field(RUN_NAME, "run name", draft.name, classes="-text")
        yield Button(line(f"▸ all settings ({len(REST)} more)"), id="settings-all", compact=True)
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

    def _focus(self, key: str) -> None:
        if key in REST and not self.query(f"#{field_id(key)}"):
            self.show_all()
            self.focus_key(key)
            return
        for field in self.query(Field):
            if field.key == key:
                if field.edited:
                    field.edited.focus()
                else:  # it is being mounted
                    self.focus_key(key)

    def show_all(self) -> None:
        """Show the rest of the keys."""
        more = self.query_one("#settings-more", Vertical)
        more.set_class(True, "-shown")
        if not more.query(Field):
            more.mount_all(editor(key, key, self.state.draft.text(key), "-long") for key in REST)
            self.call_after_refresh(self.tell)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        more = self.query_one("#settings-more", Vertical)
        if more.has_class("-shown"):
            more.set_class(False, "-shown")
        else:
            self.show_all()
        sign = "▾" if more.has_class("-shown") else "▸"
        event.button.label = line(f"{sign} all settings ({len(REST)} more)")  # pyright: ignore[reportAttributeAccessIssue]

    def on_field_changed(self, event: Field.Changed) -> None:
        event.stop()
        draft = self.state.draft
        if event.key == RUN_NAME:
            draft.name = event.value.strip()
            draft.touched = True
        elif event.key == "loss.name":
            draft.both = event.value == BOTH
            draft.set("loss.name", "mio" if draft.both else event.value)
            draft.touched = True
        else:
            draft.set(event.key, event.value.strip())
        self.post_message(self.Changed(event.key))
        self.tell()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        field = next((node for node in event.widget.ancestors if isinstance(node, Field)), None)
        if field:
            self.focused_key = field.key
            self.tell_help()

    def shown_value(self, key: str) -> str:
        if key == RUN_NAME:
            return self.state.draft.name
        return self._objective() if key == "loss.name" else super().shown_value(key)

    def tell(self) -> None:
        found = facts(self.state.draft, self.state.data)
        errors = self.state.draft.errors() | {RUN_NAME: self.state.name_error}
        for field in self.query(Field):
            field.tell(errors.get(field.key, ""), found.get(field.key, ""))
        needs = self.state.needs
        named = bool(self.state.draft.text("model.name"))
        unknown = "memory: known once the model is here" if named else "memory: choose a model first"
        unknown = "memory: estimating…" if self.state.card else unknown
        unknown = "memory: once the settings are valid" if any(errors.values()) else unknown
        words = f"{SIGNS[needs.fits]} {needs.line}" if needs else unknown
        self.query_one("#settings-needs", StaticText).show(line(words))
        self.query_one("#settings-side", StaticText).show(needs.bars() if needs and needs.total else line(words, 300))
        self.tell_help()

    def tell_help(self) -> None:
        """Show the help, or the whole error, of the field that has the focus."""
        key = self.focused_key
        words = HELP.get(key) or (KEYS[key].description if key in KEYS else "")
        error = self.state.name_error if key == RUN_NAME else self.state.draft.error(key)
        text = line(f"{key}: {words}" if key else "", 300)
        text.no_wrap = False
        if error:
            text = line(f"✗ {error}", 300)
            text.no_wrap = False
        self.query_one("#settings-help", StaticText).show(text)
