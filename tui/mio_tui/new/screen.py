"""The New run screen: pick a model and data, settle how to train, look at it all once more, and start."""

import shlex
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType

from mio_local.errors import MioError, RecipeError
from mio_local.process import program
from mio_tui.dialogs import Answer, Ask, AskText
from mio_tui.formatting import size
from mio_tui.new.draft import recipe_file
from mio_tui.new.edit import EditRecipe
from mio_tui.new.fetch import Download
from mio_tui.new.load import LoadRecipe
from mio_tui.new.starting import Starting
from mio_tui.new.state import Step
from mio_tui.new.steps.model_step import ModelStep
from mio_tui.new.stock import is_path, shown


class NewRunScreen(Starting):
    """Nothing is trained, written or downloaded before it is asked for. `recipe_tables` fill the form in."""

    TITLE_WORDS = "New run"
    HELP_WORDS = (
        "Enter goes on: from field to field, and from the last one to the next step; ↑ ↓ move, ← → change a choice.\n"
        "Model: type to filter and to search the hub; / . ~ begin a folder, which tab completes.\n"
        "Data: ←/→ turn the pairs, page keys ten at a time. Underlined tokens are scored, bold ones are special.\n"
        "Settings: what is left empty is the default; f4 opens all of them. One or two may have several values, as\n"
        "0.1, 0.2 with a space after the comma: a run for each, one after the other, eight at most.\n"
        "A run starts from the review alone, with s; there e edits all of it as TOML, w saves it as a recipe.\n"
        "Where another run trains, q puts this one in line behind it, and s starts it beside that.\n"
        "A memory estimate never stops a start: press s twice."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+o", "load", "Load recipe", priority=True, id="load"),
        Binding("escape", "leave", "Back", id="leave"),
    ]

    # the model

    def on_model_step_chosen(self, event: ModelStep.Chosen) -> None:
        """Take the model; where it is not here, ask whether to fetch it now."""
        card, row = event.row.card, event.row
        if card.complete:
            self.take_model(card.name)
            return
        if card.on_disk and is_path(card.name):
            self.complain(f"{shown(card.name)}: its weights are not all here; copy the folder again")
            return
        words = f"{card.name}\n{row.size} to download, {size(self.state.disk_free)} free"
        if card.gated:
            words += "\ngated: accept its terms on its page, then run: hf auth login"
        answers = [Answer("d", "download", "Download it now"), Answer("l", "later", "Download it when the run starts")]
        self.app.push_screen(Ask("Download this model?", words, answers), lambda answer: self._fetch(answer, card.name))

    def take_model(self, name: str) -> None:
        """Train this model."""
        self.state.draft.choose_model(name)
        models = self.models
        models.take_card()
        models.fill()
        self.data.sync()
        self.on_step_changed(Step.Changed("model.name"))

    def _fetch(self, answer: str | None, name: str) -> None:
        if not answer:
            return
        self.take_model(name)
        if answer == "download":
            if self.state.download:
                self.state.download.stop()
            revision = self.state.draft.text("model.revision")
            self.state.download = Download(name, revision, self._downloaded)
            self.run_worker(self.state.download.run, group="download", exit_on_error=False)
            self._downloaded()

    def _downloaded(self) -> None:
        """A download got on, or ended."""
        download = self.state.download
        if not download or not self.is_mounted:
            return
        if download.state == "failed":
            self.complain(download.error)
        if download.state in ("failed", "stopped"):
            self.state.start_after = False
        if download.state != "running":
            self.models.load_local()
        if download.state == "done":
            self.data.sync(again=bool(self.state.data.untokenised))
        self.tell()
        if download.state == "done" and self.state.start_after:
            self.run_worker(self.start_after(download.name), group="start", exit_on_error=False)

    # recipes

    def action_load(self) -> None:
        """Load a recipe."""
        if self.state.starting:
            return
        self.app.push_screen(LoadRecipe(), self._load)

    def _load(self, path: Path | None) -> None:
        if path:
            try:
                self.state.draft.load(path.expanduser())
            except (MioError, RuntimeError) as error:
                self.complain(error)
                return
            self.app.notify(f"loaded {path.name}", markup=False)
            self.replaced()

    def replaced(self) -> None:
        """All of the draft may be another."""
        for step in self.steps:
            step.put_all()
        self.models.load_local()
        self.data.sync()
        self.on_step_changed(Step.Changed())

    def action_save(self) -> None:
        """Save the draft as a recipe."""
        if self.state.starting:
            return
        try:
            self.state.draft.recipe()
        except RecipeError as error:
            self.complain(error)
            return
        name = f"{self.state.draft.name or self.state.draft.text('loss.name')}.toml"
        words = "Where to? Only what differs from the defaults is written."
        self.app.push_screen(AskText("Save as a recipe", words, name), self._save)

    def _save(self, typed: str | None, sure: bool = False) -> None:
        if not typed or not typed.strip():
            return
        try:
            there = recipe_file(typed)
            if there.exists() and not sure:
                answers = [Answer("r", "replace", "Replace it")]
                ask = Ask("Replace the file?", f"{there.name} is there already.", answers)
                self.app.push_screen(ask, lambda answer: self._save(typed if answer else "", sure=True))
                return
            self.state.draft.save(there)
        except (MioError, OSError, RuntimeError, ValueError) as error:
            self.complain(error)
            return
        half = ", the MIO half only" if self.state.draft.both else ""
        half += ", the first values only" if self.state.draft.swept else ""
        words = f"saved {there.name}{half}; to train it again: {program()} train {shlex.quote(str(there))}"
        self.app.notify(words, markup=False)

    def action_edit(self) -> None:
        """Edit the draft as TOML."""
        if self.state.starting:
            return
        draft = self.state.draft
        edit = EditRecipe(draft.toml(), draft.take_toml)
        self.app.push_screen(edit, lambda taken: self.replaced() if taken else None)

    # leave

    def action_leave(self) -> None:
        """Out one layer: a download first, then a step, then the screen; ask where something was entered."""
        download = self.state.download
        if download and download.state == "running" and self.at == 0:
            download.stop()
        elif self.at > 0 and not self.state.starting:
            self.go(self.at - 1)
        elif self.state.draft.touched and not self.state.starting:
            answers = [Answer("l", "leave", "Leave; what was entered is lost"), Answer("w", "save", "Save as a recipe")]
            self.app.push_screen(Ask("Leave the new run?", "", answers), self._left)
        elif not self.state.starting:
            self.dismiss()

    def _left(self, answer: str | None) -> None:
        if answer == "leave":
            self.dismiss()
        elif answer == "save":
            self.action_save()
