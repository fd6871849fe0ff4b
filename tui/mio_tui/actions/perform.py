"""Doing one of the actions, from any screen that shows a run."""

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from textual.app import App

from mio_local.errors import MioError, one_line
from mio_local.export.choices import CHOICES
from mio_local.process import opener, program
from mio_local.runs import trash
from mio_local.runs.directory import Run, elsewhere
from mio_local.runs.remarks import read_remarks, set_note, set_tags
from mio_tui.actions.command_process import CommandProcess
from mio_tui.actions.command_screen import CommandScreen
from mio_tui.actions.recipe_like import on_pairs, with_objective
from mio_tui.actions.run_actions import Meant, chat_pairs, other_objective
from mio_tui.base import MioScreen
from mio_tui.dialogs import Answer, Ask, AskText

MEASURES = (
    Answer("h", "held", "Held-out pairs, and how far it drifted (64 answers)"),
    Answer("f", "forgetting", "Did it forget? Perplexity of plain text before and after"),
    Answer("b", "both", "Both"),
)
WORK = "command"  # the group of the app's workers that wait for one
FLAGS = {"held": [], "forgetting": ["--no-preference", "--forgetting"], "both": ["--forgetting"]}

class Performer:
    """The actions that every screen does alike: a method each, of the name that it has in ACTIONS. What asks something
    asks it at once, so that no key gets past the question."""

    def __init__(self, screen: MioScreen[Any], meant: Meant) -> None:
        self.screen, self.meant, self.run = screen, meant, meant.run

    def perform(self, name: str) -> None:
        """Do it; what goes wrong is told."""
        try:
            getattr(self, name)()
        except (MioError, OSError) as error:
            self._complain(error)

    def report(self) -> None:
        """Write it as HTML, to share, and as text, to be read here."""
        text = self.run.path / "report.md"
        self._command("Report of", ["report"], ["report", "--out", str(text)], read=text)

    def evaluate(self) -> None:
        words = "It is measured in a process of its own; you may leave this screen meanwhile."
        self._ask(Ask(f"Evaluate {self.run.name}", words, MEASURES), self._evaluate)

    def _evaluate(self, answer: str | None) -> None:
        if answer:
            self._command("Evaluate", ["eval", *FLAGS[answer]])

    def last(self) -> None:
        """What was run last, or runs."""
        if command := last_command(self.screen.mio.commands, self.run):
            self.screen.app.push_screen(CommandScreen(command))

    def check(self) -> None:
        self._command("Check", ["check"])

    def export(self) -> None:
        ways = [Answer(choice.key, choice.name, choice.words) for choice in CHOICES]
        self._ask(Ask(f"Export {self.run.name}", f"to {self.run.path / 'exports'}", ways), self._export)

    def _export(self, answer: str | None) -> None:
        if answer:
            choice = next(choice for choice in CHOICES if choice.name == answer)
            self._command(f"Export as {answer}:", ["export", "--to", choice.format, *choice.flags])

    def again(self) -> None:
        self.screen.mio.new_like(self.run, lambda tables: tables, "Settings")

    def other(self) -> None:
        name = other_objective(self.meant.row.objective)
        self.screen.mio.new_like(self.run, lambda tables: with_objective(tables, name), "Review")

    def pairs(self) -> None:
        pairs = chat_pairs(self.run)
        self.screen.mio.new_like(self.run, lambda tables: on_pairs(tables, self.run, pairs), "Data")

    def rename(self) -> None:
        self._ask(AskText("Rename", "Its new name:", self.run.name), self._rename)

    def _rename(self, typed: str | None) -> None:
        name = (typed or "").strip()
        if name and name != self.run.name:
            self._aside(lambda: _renamed(self.run, name))

    def note(self) -> None:
        words = "What for? What came of it? An empty note takes it away; esc leaves it."
        self._ask(AskText("Note", words, read_remarks(self.run).note), self._note)

    def _note(self, typed: str | None) -> None:
        if typed is not None:
            self._aside(lambda: "noted" if set_note(self.run, typed).note else "no note")

    def tag(self) -> None:
        words = "Words, with spaces between them; an empty line takes all away."
        self._ask(AskText("Tags", words, " ".join(read_remarks(self.run).tags)), self._tag)

    def _tag(self, typed: str | None) -> None:
        if typed is not None:
            self._aside(lambda: _tagged(self.run, typed))

    def delete(self) -> None:
        """Into the trash; the screen, which shows the run alone, closes."""
        words = f"It is kept in the trash for seven days: {program()} undelete takes it back."
        answer = Answer("d", "delete", "Move to the trash")
        self._ask(Ask(f"Delete {self.run.name}?", words, [answer]), self._delete)

    def _delete(self, answer: str | None) -> None:
        if answer:
            trash.delete(self.run)
            self.screen.dismiss()

    def copy(self) -> None:
        self._copy(str(self.run.path))

    def command(self) -> None:
        self._copy(f"{program()} train {shlex.quote(str(self.run.recipe))}{elsewhere(self.run.path.parent)}")

    def folder(self) -> None:
        """By the desktop's own program, where there is a desktop."""
        by = opener()
        desktop = sys.platform == "darwin" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
        if not by or not desktop or "SSH_CONNECTION" in os.environ:
            self._copy(str(self.run.path), "no desktop here to open it; copied instead")
            return
        nothing = subprocess.DEVNULL
        subprocess.Popen(  # a program of the user's, with a window of its own
            [by, str(self.run.path)], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
        )

    def _ask(self, question: Ask | AskText, then: Callable[[str | None], None]) -> None:
        def answered(answer: str | None) -> None:
            try:
                then(answer)
            except (MioError, OSError) as error:
                self._complain(error)

        self.screen.app.push_screen(question, answered)

    def _command(self, title: str, *commands: list[str], read: Path | None = None) -> None:
        columns = max(self.screen.size.width - 4, 60)
        command = CommandProcess(self.run, f"{title} {self.run.name}", commands, read, columns)
        self.screen.mio.commands.append(command)
        app = self.screen.app
        app.run_worker(follow(app, command), group=WORK, exit_on_error=False)
        app.push_screen(CommandScreen(command))

    def _aside(self, work: Callable[[], str]) -> None:
        """Write something, and tell what came of it."""

        async def done() -> None:
            try:
                self.screen.notify(await asyncio.to_thread(work), title=self.run.name, markup=False)
            except (MioError, OSError) as error:
                self._complain(error)

        self.screen.run_worker(done(), group="remarks", exit_on_error=False)

    def _copy(self, words: str, title: str = "copied") -> None:
        try:
            self.screen.app.copy_to_clipboard(words)
        except UnicodeEncodeError:
            self.screen.mio.complain(f"{words}: not copied, as this name is no text")
            return
        self.screen.notify(words, title=title, markup=False)

    def _complain(self, error: MioError | OSError) -> None:
        told = error if isinstance(error, MioError) else f"{self.meant.title}: {error.strerror or one_line(error)}"
        self.screen.mio.complain(told)


def _renamed(run: Run, name: str) -> str:
    from mio_local.runs.naming import rename  # with the recipe

    renamed, behind = rename(run, name)
    left = f"; {' and '.join(behind)} still call it by the old name, as their recipe or run.json is damaged"
    return f"called {renamed.name} now{left if behind else ''}"


def _tagged(run: Run, typed: str) -> str:
    wanted = [word.lstrip("#+") for word in typed.split()]
    found = set_tags(run, wanted, set(read_remarks(run).tags) - set(wanted))
    return " ".join(f"#{tag}" for tag in found.tags) or "no tags"


async def follow(app: App[Any], command: CommandProcess) -> None:
    """Wait for its end, which is told to who looks at something else."""
    await command.work()
    if not (isinstance(app.screen, CommandScreen) and app.screen.command is command):
        severity = "error" if command.code and not command.stopped else "information"
        app.notify(command.last, title=command.title, severity=severity, timeout=15, markup=False)


def last_command(commands: Sequence[object], run: Run) -> CommandProcess | None:
    """The newest of them on this run."""
    own = [one for one in commands if isinstance(one, CommandProcess) and one.run == run]
    return own[-1] if own else None
