"""One recipe key on the screen: its name, where its value is typed or chosen, and what there is to say of it."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args, get_origin

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from mio_local.flags import as_text
from mio_local.recipe import PATHS
from mio_tui.formatting import line
from mio_tui.new.draft import KEYS
from mio_tui.new.path_input import PathInput
from mio_tui.static_text import StaticText

PATH_KEYS = [".".join(key) for key in PATHS]


class Choice(Widget, can_focus=True):
    """One of some values, all in sight where there is room, else those beside it: the chosen one is told by its mark,
    not by a colour."""

    DEFAULT_CSS = """
    Choice {
        width: 1fr; height: 1;
        &:focus { text-style: bold; background: $panel; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space", "turn(1)", "Next value", show=False),
        Binding("left", "turn(-1)", "Value before", show=False),
    ]

    class Changed(Message):
        """Another value was chosen."""

        def __init__(self, choice: "Choice", value: str) -> None:
            super().__init__()
            self.choice, self.value = choice, value

    def __init__(self, options: Sequence[tuple[str, str]], value: str, id: str | None = None) -> None:
        """`options` are (value, words)."""
        super().__init__(id=id)
        self.options = list(options)
        self.value = value

    @property
    def at(self) -> int:
        """The index of the value; -1 for a value that is none of the options."""
        return next((number for number, (value, _) in enumerate(self.options) if value == self.value), -1)

    def _marked(self) -> list[str]:
        return [f"({'•' if number == self.at else ' '}) {words}" for number, (_, words) in enumerate(self.options)]

    def _page(self) -> range:
        """The numbers of the values in sight, page by page; none where only the chosen one has room."""
        marked, place = self._marked(), f" … {len(self.options)} of {len(self.options)}"
        if self.at < 0 or len("  ".join(marked)) <= self.size.width:
            return range(len(marked) if self.at >= 0 else 0)
        first = 0
        for last in range(1, len(marked) + 1):
            if last == len(marked) or len("  ".join(marked[first : last + 1]) + place) > self.size.width:
                if self.at < last:
                    return range(first, last) if last - first > 1 else range(0)
                first = last
        return range(0)

    def render(self) -> Text:
        page = self._page()
        if self.at < 0:
            return line(f"‹ {self.value} ›")
        if not page:
            return line(f"‹ {self.options[self.at][1]} › {self.at + 1} of {len(self.options)}")
        seen = "  ".join(self._marked()[number] for number in page)
        place = f" … {self.at + 1} of {len(self.options)}" if len(page) < len(self.options) else ""
        return Text(seen + place, no_wrap=True)

    def put(self, value: str) -> None:
        """Show another value without telling anybody."""
        self.value = value
        self.refresh()

    def action_turn(self, by: int) -> None:
        """The next value, or the one before."""
        self._take((self.at + by) % len(self.options))

    def _take(self, number: int) -> None:
        self.put(self.options[number][0])
        self.post_message(self.Changed(self, self.value))

    def on_click(self, event: events.Click) -> None:
        end, marked = 0, self._marked()
        for number in self._page():
            end += len(marked[number]) + 2
            if event.x < end:
                self._take(number)
                return
        self.action_turn(1)


class Fields(Vertical):
    """Holds fields."""

    def after(self, field: "Field") -> None:
        """Enter was pressed in a field: where does that lead?"""

    def below(self, field: "Field") -> bool:
        """Down was pressed in a field: whether that led elsewhere than to the next one."""
        return False


class Field(Horizontal):
    """One key. Tells of every change, typed or chosen, by `Field.Changed`."""

    DEFAULT_CSS = """
    Field {
        height: 1; width: 1fr;
        .name { width: 16; height: 1; color: $text-muted; }
        &:focus-within .name { color: $foreground; text-style: bold; }
        Input { width: 16; height: 1; border: none; padding: 0 1; background: $surface; }
        Input:focus { border: none; background: $panel; }
        .hint {
            width: 1fr; height: 1; padding: 0 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis;
        }
        &.-wrong .hint { color: $error; }
        &.-long .name { width: 26; }
        &.-text Input { width: 1fr; }
        &.-text .hint { width: auto; max-width: 50%; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "below", "Next field", show=False),
        Binding("up", "app.focus_previous", "Field before", show=False),
        Binding("enter", "done", "Next field", show=False, priority=True),
    ]

    class Changed(Message):
        """The value of a key was edited."""

        def __init__(self, field: "Field", value: str) -> None:
            super().__init__()
            self.field, self.key, self.value = field, field.key, value

    def __init__(
        self, key: str, name: str, value: str, *, options: Sequence[tuple[str, str]] = (), placeholder: str = "",
        classes: str = "",
    ) -> None:  # fmt: skip
        """`options` are (value, words), of which one is chosen; without any, the value is typed."""
        super().__init__(id=field_id(key), classes=classes)
        self.key, self.label, self.value = key, name, value
        self.options, self.placeholder = options, placeholder

    def compose(self) -> ComposeResult:
        yield Static(line(self.label), classes="name", markup=False)
        if self.options:
            yield Choice(self.options, self.value)
        else:
            kind = PathInput if self.key in PATH_KEYS else Input
            box = kind(self.value, placeholder=self.placeholder)
            box.cursor_blink = False  # which draws, and sends, twice a second
            yield box
            yield StaticText(classes="hint")

    @property
    def edited(self) -> Widget | None:
        """What takes the keys; None before it is there."""
        return next(iter(self.query("Input, Choice")), None)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if event.value != self.value:
            self.value = event.value
            self.post_message(self.Changed(self, self.value))

    def action_done(self) -> None:
        """Enter: who holds the fields moves the focus, at once, as the next key may be here already."""
        if self._holder:
            self._holder.after(self)

    async def action_below(self) -> None:
        if not (self._holder and self._holder.below(self)):
            await self.run_action("app.focus_next")

    @property
    def _holder(self) -> Fields | None:
        return next((node for node in self.ancestors if isinstance(node, Fields)), None)

    def on_choice_changed(self, event: Choice.Changed) -> None:
        event.stop()
        self.value = event.value
        self.post_message(self.Changed(self, self.value))

    def put(self, value: str) -> None:
        """Show another value without telling anybody."""
        self.value = value
        for choice in self.query(Choice):
            choice.put(value)
        for box in self.query(Input):
            with self.prevent(Input.Changed):
                box.value = value

    def tell(self, error: str, hint: str = "") -> None:
        """Show what is wrong with the value, else `hint`."""
        self.set_class(bool(error), "-wrong")
        for words in self.query(StaticText):
            words.show(line(f"✗ {error}" if error else hint), layout=self.has_class("-text"))


def field_id(key: str) -> str:
    """The widget's id of a key's field."""
    return f"field-{key.replace('.', '-')}"


def choices(key: str) -> list[tuple[str, str]]:
    """The values of a key that has only a few, as (value, words); none for one that is typed."""
    kind = KEYS[key].annotation
    if kind is bool:
        return [("false", "no"), ("true", "yes")]
    if get_origin(kind) is Literal:
        values: tuple[Any, ...] = get_args(kind)
        return [(as_text(value), as_text(value)) for value in values]
    return []


def editor(key: str, name: str, text: str, classes: str = "") -> Field:
    """The field of a key, by the kind of its values; what is left empty is the default."""
    default = as_text(KEYS[key].default)
    return Field(key, name, text, options=choices(key), placeholder=default, classes=classes)
