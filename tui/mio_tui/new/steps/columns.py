"""Which column of the data plays which role: found by itself, and changed here."""

from collections.abc import Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Select, Static

from mio_tui.formatting import line

ALWAYS = ("prompt", "chosen", "rejected")


class ColumnSelect(Select[str]):
    """The column of one role; blank leaves the finding to the program."""

    def __init__(self, role: str, available: Sequence[str], value: str) -> None:
        # an option's words are markup to Select unless they are Content
        options = [(Content(line(name, 60).plain), name) for name in available]
        chosen = value if value in available else Select.NULL
        super().__init__(options, prompt="auto", value=chosen, compact=True)  # pyright: ignore[reportArgumentType]
        self.role = role


class Columns(Horizontal):
    """A Select for each role."""

    DEFAULT_CSS = """
    Columns {
        height: 1; display: none;
        &.-shown { display: block; }
        Static { width: auto; height: 1; padding: 0 1 0 0; color: $text-muted; }
        Select { width: 1fr; height: 1; margin-right: 1; }
        Select:focus-within { text-style: bold; }
    }
    """

    class Changed(Message):
        """A role was given another column; an empty one is to be found."""

        def __init__(self, role: str, column: str) -> None:
            super().__init__()
            self.role, self.column = role, column

    def __init__(self) -> None:
        super().__init__(id="columns")
        self.available: list[str] = []
        self.found: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        for role in dict.fromkeys((*ALWAYS, *self.found)):
            yield Static(line(f"{role} ="), markup=False)
            yield ColumnSelect(role, self.available, self.found.get(role, ""))

    async def put(self, answer: Mapping[str, Any], given: Mapping[str, str]) -> None:
        """Show what the preview answered: the columns that there are, and those found or given for each role."""
        available = [str(name) for name in answer.get("available", ())]
        found = {str(role): str(column) for role, column in {**given, **answer.get("columns", {})}.items()}
        self.set_class(bool(available), "-shown")
        same = available == self.available and set(found) <= {select.role for select in self.query(ColumnSelect)}
        self.available, self.found = available, found
        if not same:
            await self.recompose()
            return
        for select in self.query(ColumnSelect):
            value = found.get(select.role, "")
            with select.prevent(Select.Changed):
                if value in available:
                    select.value = value
                else:
                    select.clear()

    def on_select_changed(self, event: Select.Changed) -> None:
        event.stop()
        select = event.select
        assert isinstance(select, ColumnSelect)
        column = "" if event.value is Select.NULL else str(event.value)
        if column != self.found.get(select.role, "") and (not column or column in self.available):
            self.found[select.role] = column
            self.post_message(self.Changed(select.role, column))
