"""Step 4: what will be trained, what stands in its way, and the command line that does the same."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from mio_local.errors import RecipeError
from mio_local.process import as_typed
from mio_local.runs.directory import runs_folder
from mio_tui.formatting import block, line
from mio_tui.new.checks import checks
from mio_tui.new.draft import as_toml
from mio_tui.new.lookups.ahead import short
from mio_tui.new.state import State, Step

NO_FLAGS = "not as flags: w saves a recipe, then mio-local train FILE"


class ReviewStep(Step):
    """Nothing is edited here; `s` starts."""

    DEFAULT_CSS = """
    ReviewStep {
        #review { layout: vertical; overflow-y: auto; height: 1fr; }
        #review > VerticalScroll { height: auto; width: 100%; margin-bottom: 1; }
        #review Static { height: auto; }
        #review-start { height: 1; text-style: bold; }
        &.-wide #review { layout: horizontal; }
        &.-wide #review > VerticalScroll { height: 1fr; width: 1fr; margin-right: 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "Copy the command line", show=False),
        Binding("s,enter", "screen.start", "Start", key_display="s"),
        Binding("q", "screen.queue", "Run after the others", show=False),
        Binding("e", "screen.edit", "TOML"),
        Binding("w", "screen.save", "Save"),
    ]

    def __init__(self, state: State) -> None:
        super().__init__(state, "step-review")
        self.asked = False

    def compose(self) -> ComposeResult:
        yield Static(id="review-start", markup=False)
        with Container(id="review"):
            with VerticalScroll(id="review-left", can_focus=True):
                yield Static(id="review-checks", markup=False)
            with VerticalScroll(id="review-right", can_focus=True):
                yield Static(id="review-toml", markup=False)

    def enter(self) -> None:
        self.query_one("#review-left").focus()
        self.tell()

    def tell(self) -> None:
        start = self.query_one("#review-start", Static)
        if self.state.starting:
            start.update(line("◌ starting…"))
        elif self.state.start_after:
            start.update(line("◌ starts once all is read and estimated; s starts at once", style="reverse"))
        elif self.asked:
            queue = f", q to run it after {short(self.state.ahead.last)}" if self.state.ahead else ""
            start.update(line(f"! press s again to start anyway{queue}", style="reverse"))
        elif self.state.ahead:
            start.update(line(f"q runs it after {short(self.state.ahead.last)} · s starts it now, beside the others"))
        else:
            start.update(line("s starts · y copies the command line · e edits as TOML · w saves as a recipe"))
        self.query_one("#review-checks", Static).update(self._checks())
        self.query_one("#review-toml", Static).update(self._recipe())

    def _checks(self) -> Text:
        text = Text()
        for check in checks(self.state):
            text.append(f"{check.sign} ").append_text(line(check.words, 400)).append("\n")
        text.append("\nthe same from the command line\n", style="bold")
        try:
            commands = self.commands()
        except RecipeError:
            commands = []
            text.append("once the settings are valid")
        else:
            if not commands:
                text.append(as_typed(NO_FLAGS))
        return text.append_text(block("\n".join(commands), 8000))

    def commands(self) -> list[str]:
        """The command lines. Raises RecipeError."""
        folder = self.state.folder
        return self.state.draft.commands("" if folder == runs_folder(None) else str(folder))

    def _recipe(self) -> Text:
        draft = self.state.draft
        text = Text("changed from the defaults\n", style="bold")
        text.append_text(block(as_toml(draft.tables(), help=False) or "nothing\n", 20_000, style="not bold"))
        try:
            recipes = draft.recipes()
        except RecipeError:
            return text
        for changed in list(draft.variants().values())[1:]:
            words = ", ".join(f"{key} {value}" for key, value in changed.items())
            text.append(f"\nthen the same with {words}", style="not bold")
        text.append("\n" * bool(recipes[1:]))
        text.append("\nthe whole recipe\n")
        return text.append_text(block(recipes[0].dump(), 20_000, style="not bold"))

    def action_copy(self) -> None:
        """Put the command line on the clipboard."""
        try:
            commands = self.commands()
        except RecipeError as error:
            self.app.notify(str(error), severity="error", markup=False)
            return
        if commands:
            self.app.copy_to_clipboard("\n".join(commands))
        self.app.notify("the command line is copied" if commands else NO_FLAGS, markup=False)
