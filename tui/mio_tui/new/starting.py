"""From the review to runs that train now, beside others or behind them: what is wrong stops it, what is doubtful is
asked once more."""

import asyncio
import time
from typing import ClassVar

from textual.binding import Binding, BindingType

from mio_local.errors import MioError, one_line
from mio_local.recipe import Recipe
from mio_local.runs.directory import Run
from mio_local.runs.queue import ahead_of
from mio_tui.background_thread import aside
from mio_tui.new.begin import begin_named, begin_sweep, names_of, sweep_names, unbounded
from mio_tui.new.checks import BESIDE, SETTINGS, WAIT, WRONG, checks
from mio_tui.new.form import NAMES, Form
from mio_tui.new.lookups.ahead import ahead, short
from mio_tui.new.state import State
from mio_tui.new.stock import shown

PATIENCE = 60.0  # seconds that a start waits for the pairs and the estimate, once the model is here


class Starting(Form):
    """The form with its start keys. `behind` is whether the run is to go behind those that train or wait here."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "review", "Review", priority=True, id="review"),
    ]

    async def action_review(self) -> None:
        """To the review, from where a run starts; there it starts."""
        if self.step is self.review:
            self.action_start()
        else:
            await self.turn_to(len(NAMES) - 1)

    def action_start(self) -> None:
        """Start now, beside whatever trains here."""
        self.start(behind=False)

    def action_queue(self) -> None:
        """Put the run in line behind those that train or wait here."""
        if not self.state.ahead:
            self.app.notify("nothing trains or waits here: s starts", markup=False)
            return
        self.start(behind=True)

    def start(self, *, behind: bool) -> None:
        """Start what is valid; what is doubtful is asked once more. Only from the review, where all of it is seen."""
        if self.step is not self.review:
            self.go(len(NAMES) - 1)
        if self.state.starting or self._waits(behind):
            return
        found = checks(self.state)
        wrong = next((check for check in found if check.sign == WRONG), None)
        if wrong:
            self.go(wrong.step)
            if wrong.key and wrong.step == SETTINGS:
                self.settings.focus_key(wrong.key)
            if not wrong.told:
                self.complain(wrong.words)
            return
        unknown = {check.ask for check in found if check.sign == WAIT and check.ask}
        if unknown and not self.state.start_after:
            self.state.start_after = True
            self.app.notify("starts once the pairs are read and the memory is estimated; again: at once", markup=False)
            self.run_worker(self._start_once_known(behind), group="start-after", exclusive=True, exit_on_error=False)
            self.tell()
            return
        known = self.confirmed | ({"estimate"} if "memory" in self.confirmed else set())
        known |= unknown | ({BESIDE} if behind else set())
        doubts = {check.ask: check.words for check in found if check.ask and check.ask not in known}
        if doubts:
            self.ask_again(doubts)
            return
        self.state.starting = True
        self.state.start_after = False
        self.app.notify("starting…", markup=False)
        self.tell()
        self.run_worker(self._start(behind), group="start", exit_on_error=False)

    def ask_again(self, doubts: dict[str, str]) -> None:
        """Tell the doubts; the next press of a start key knows of them."""
        self.confirmed.update(doubts)
        self.tell()
        lines = "\n".join(doubts.values())
        words = f"{lines}\nPress the start key again to start anyway"
        self.app.notify(words, severity="warning", timeout=10, markup=False)

    def _waits(self, behind: bool) -> bool:
        """Whether the model is on its way: the trainer would fetch it from the beginning."""
        download = self.state.download
        name = self.state.draft.text("model.name")
        coming = bool(download and download.name == name and download.state == "running")
        if coming:
            self.state.start_after, self.behind = True, behind
            self.app.notify(f"{shown(name)} is still on its way: the run starts when it is here", markup=False)
        return coming

    async def _start_once_known(self, behind: bool) -> None:
        """Start where nothing was edited meanwhile, and the review is still what one looks at."""
        await self._known()
        if self.state.start_after:
            self.state.start_after = False
            if self.on_top and self.step is self.review:
                self.start(behind=behind)
            self.tell()

    async def _known(self) -> None:
        """Wait for what is being found out: to ask about it helps nobody."""
        ends = time.monotonic() + PATIENCE
        while any(check.sign == WAIT and check.ask for check in checks(self.state)) and time.monotonic() < ends:
            await asyncio.sleep(0.1)

    async def start_after(self, name: str) -> None:
        """Start what waited for a model, unless somebody is busy with something else."""
        await self._known()  # with its tokenizer the pairs are read anew
        if not self.state.start_after:
            return
        self.state.start_after = False
        if self.on_top and name == self.state.draft.text("model.name"):
            self.start(behind=self.behind)
        else:
            self.app.notify(f"{shown(name)} is here; press the start key to start", markup=False)

    async def _start(self, behind: bool) -> None:
        state = self.state
        try:
            state.ahead = await aside(ahead, state.folder)
            doubts = {check.ask: check.words for check in checks(state) if check.ask == BESIDE}
            if doubts and not behind and BESIDE not in self.confirmed:  # it began a moment ago
                state.starting = False
                self.ask_again(doubts)
                return
            if state.download:
                state.download.stop()
            total = state.needs.total if state.needs else 0
            recipes, endings = state.draft.recipes(), list(state.draft.variants())
            if "memory" in self.confirmed:
                recipes = [unbounded(recipe) for recipe in recipes]
            after = Run(state.folder / state.ahead.last) if behind and state.ahead else None
            runs = await aside(begin, recipes, state, endings, total, after)
            run = runs[0]
            waits_for = ahead_of(await aside(run.read_status)) if after else ""
        except Exception as error:  # whatever it is, the form goes on
            state.starting = False
            known = isinstance(error, MioError | OSError)
            self.complain(error if known else f"not started: {type(error).__name__}: {one_line(error)}")
            self.tell()
            return
        while not self.on_top:  # help, say
            self.app.pop_screen()
        self.dismiss()
        if waits_for:
            self.mio.follow(runs)
            more = f" and {len(runs) - 1} more are" if runs[1:] else " is"
            when = f"it trains once {short(waits_for)} is over"
            self.app.notify(f"{short(run.name)}{more} in line: {when}", markup=False)
        elif runs[1:]:
            self.mio.follow(runs)
            self.mio.compare(runs)
        else:
            self.mio.show_run(run)


def begin(recipes: list[Recipe], state: State, endings: list[str], memory: int, after: Run | None) -> list[Run]:
    """Lay the draft's runs out and train them: the first of them alone, or all of a sweep. Raises RunError, OSError."""
    folder, name = state.folder, state.draft.name
    if state.draft.swept:
        return begin_sweep(recipes, folder, sweep_names(recipes[0], folder, name, endings), memory, after)
    return [begin_named(recipes, folder, names_of(name, endings), memory, trusted=True, after=after)]
