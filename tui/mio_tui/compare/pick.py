"""Choosing another run to compare with."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import OptionList, Static

from mio_local.errors import MioError
from mio_local.runs.directory import Run, list_runs
from mio_tui.dialogs import Dialog
from mio_tui.formatting import STATES, line

MOST = 300  # rows of the list: more take longer to lay out than a key press may
Choice = tuple[Run, Text]


def choices(folder: Path, taken: Collection[str]) -> list[Choice]:
    """The folder's runs whose paths are not `taken`, newest first, each with a line that describes it."""
    free = [run for run in list_runs(folder) if os.path.realpath(run.path) not in taken]
    return [(run, _words(run)) for run in free[:MOST]]


class PickRun(Dialog[Run | None]):
    """A list of runs; returns the chosen one, or None."""

    DEFAULT_CSS = """
    PickRun {
        OptionList, OptionList:focus { height: auto; max-height: 12; border: none; background: $surface; }
        Static { height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]
    heading = "Compare with"

    def __init__(self, choices: Sequence[Choice]) -> None:
        super().__init__()
        self.choices = choices

    def body(self) -> ComposeResult:
        if self.choices:
            yield OptionList(*(words for _, words in self.choices), markup=False)
        else:
            yield Static(line("No other run in this folder. Train one more, then compare: n on the list of runs."))
        yield Static(line("enter adds · esc back" if self.choices else "esc back", style="dim"), id="keys")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(self.choices[event.option_index][0])


def _words(run: Run) -> Text:
    """State, name, objective and model in a line."""
    try:
        status = run.read_status()
    except (MioError, OSError):
        status = {"state": "damaged"}
    sign = STATES.get(str(status["state"]), ("·", ""))[0]
    parts = [run.name, *(str(status[key]) for key in ("loss_name", "model", "state") if status.get(key))]
    return line(f"{sign} {' · '.join(parts)}", 66)
