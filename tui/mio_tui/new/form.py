"""Four steps over one draft, in any order; what is missing is said where it is missing."""

from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.timer import Timer
from textual.widgets import ContentSwitcher, Static

from mio_local.errors import MioError, RecipeError
from mio_tui.background_thread import aside
from mio_tui.base import MioScreen
from mio_tui.formatting import line
from mio_tui.new import needs
from mio_tui.new.begin import name_error
from mio_tui.new.checks import BESIDE, WRONG, checks
from mio_tui.new.draft import Draft
from mio_tui.new.drafting.several import SWEPT
from mio_tui.new.facts_side import FactsSide
from mio_tui.new.lookups.ahead import ahead
from mio_tui.new.lookups.lasting import Earlier
from mio_tui.new.state import TRUST_KEY, State, Step
from mio_tui.new.steps.data_step import DataStep
from mio_tui.new.steps.model_step import ModelStep
from mio_tui.new.steps.review_step import ReviewStep
from mio_tui.new.steps.settings_step import SettingsStep
from mio_tui.static_text import StaticText

NAMES = ("Model", "Data", "Settings", "Review")
AHEAD_SECONDS = 2.0  # between two looks at who trains here, while the review is seen
ESTIMATE_PAUSE = 0.15  # seconds without a key before the memory is estimated anew


class StepName(StaticText):
    """A step's name in the first row; a click goes there."""

    class Clicked(Message):
        """Go to a step."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, number: int) -> None:
        super().__init__(classes="step-name")
        self.number = number

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(self.Clicked(self.number))


class Form(MioScreen[None]):
    """The steps, which of them is shown, what is known of each, and the estimate that follows every edit."""

    DEFAULT_CSS = """
    Form {
        #steps { height: 1; background: $panel; }
        #steps > Static { width: auto; padding: 0 1; }
        .step-name.-now { text-style: bold reverse; }
        ContentSwitcher { height: 1fr; width: 1fr; }
        &.-wide FactsSide { display: block; }
        &.-wide FactsSide.-gone { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n,f3", "turn(1)", "Next", key_display="^n", priority=True, id="next"),
        Binding("f2", "turn(-1)", "Back", show=False, priority=True, id="back"),
    ]

    def __init__(self, recipe_tables: dict[str, Any] | None = None, name: str = "", first: str = "Model") -> None:
        super().__init__()
        self.tables, self.run_name, self.first = recipe_tables, name, first
        self.at = 0
        self.steps: list[Step] = []
        self.confirmed: set[str] = set()  # the doubts that were told
        self.behind = False  # whether what waits for a download is to go behind other runs
        self._pause: Timer | None = None
        self.trouble: MioError | None = None

    def body(self) -> ComposeResult:
        try:
            draft = Draft(self.tables, self.run_name)
        except RecipeError as error:
            draft, self.trouble = Draft(name=self.run_name), error
        self.state = State(draft, self.mio.folder)
        self.earlier = Earlier(self.mio.folder)
        with Horizontal(id="steps"):
            yield Static(" New run ", markup=False)
            for number in range(len(NAMES)):
                yield StepName(number)
        self.models, self.data = ModelStep(self.state), DataStep(self.state)
        self.settings, self.review = SettingsStep(self.state), ReviewStep(self.state)
        self.steps = [self.models, self.data, self.settings, self.review]
        with Horizontal():
            with ContentSwitcher(initial="step-model"):
                yield self.models
            yield FactsSide()

    async def on_mount(self) -> None:
        if self.trouble:
            self.complain(self.trouble)
        self.go(0)
        self.look_at_name()
        self.every(AHEAD_SECONDS, self._look_ahead)
        self.mio.before_keys(self._mount_rest)

    async def _mount_rest(self) -> None:
        """The other steps, once the first one is seen: all of them at once would make the form slow to open."""
        for step in self.steps[1:]:
            await self.query_one(ContentSwitcher).add_content(step)
        self.data.sync()
        if self.first != NAMES[0]:
            self.go(NAMES.index(self.first))

    def resized(self) -> None:
        for step in self.steps:
            step.set_class(self.wide, "-wide")
        self.tell_beside()

    @property
    def step(self) -> Step:
        """The step that is shown."""
        return self.steps[self.at]

    def short(self) -> str:
        return f"New run: {NAMES[self.at]}"

    def complain(self, error: object) -> None:
        """Say what went wrong, as text."""
        self.app.notify(str(error), severity="error", timeout=10, markup=False)

    # steps

    def go(self, number: int) -> None:
        """Show a step."""
        number = max(0, min(number, len(NAMES) - 1))
        if not self.steps[number].is_attached:
            return
        if number != self.at:
            self.set_focus(None)  # now: what is hidden with it drops it later, wherever it is by then
        self.at = number
        self.query_one(ContentSwitcher).current = self.step.id
        self.query_one(FactsSide).set_class(self.step is self.review, "-gone")  # which says all of it
        self.step.put_all()
        self.step.enter()
        self.data.sync()
        self.tell()
        self._look_ahead()

    async def action_turn(self, by: int) -> None:
        """The next step, or the one before."""
        await self.turn_to(self.at + by)

    async def turn_to(self, number: int) -> None:
        """Show a step; what is on the screen is taken first, or it is said why not."""
        if why := await self.step.leave():
            self.complain(why)
        else:
            self.go(number)

    async def on_step_name_clicked(self, event: StepName.Clicked) -> None:
        await self.turn_to(event.number)

    async def on_step_next(self) -> None:
        await self.turn_to(self.at + 1)

    def tell(self) -> None:
        """Show the names of the steps with what is known of each."""
        found = checks(self.state)
        for name in self.query(StepName):
            own = [check for check in found if check.step == name.number]
            done = bool(own) and not any(check.sign == WRONG or check.ask for check in own)
            name.show(line(f"{name.number + 1} {NAMES[name.number]}{' ✓' if done else ''}"), layout=True)
            name.set_class(name.number == self.at, "-now")
        self.review.asked = bool(self.confirmed)
        self.step.tell()
        self.tell_beside()
        self.tell_small()

    def tell_beside(self) -> None:
        """Show what is known beside the step, where there is room."""
        if self.wide and self.step is not self.review:
            self.query_one(FactsSide).tell(self.state, self.step.beside())

    def on_step_beside(self) -> None:
        self.tell_beside()

    async def on_step_go_to(self, event: Step.GoTo) -> None:
        await self.turn_to(event.number)

    def on_step_changed(self, event: Step.Changed) -> None:
        """The draft was edited: what was confirmed is not any more."""
        self.confirmed = set()
        if self.state.start_after:
            self.state.start_after = False
            self.app.notify("edited: the run does not start by itself any more", markup=False)
        if event.key == TRUST_KEY:
            self.state.trusted = self.state.draft.text("model.name") if self.state.draft.value(TRUST_KEY) else ""
        if event.key in ("", "run.name", "loss.name") or event.key in SWEPT:
            self.look_at_name()
        if event.key != "run.name":
            self.data.sync_soon(event.key)
            self.estimate_soon()
        self.tell()

    def on_step_found(self) -> None:
        self.estimate_soon()
        self.tell()

    def look_at_name(self) -> None:
        """Whether the run's name can be had."""
        draft = self.state.draft
        try:
            endings = list(draft.variants())
        except RecipeError:  # which is said where it is
            endings = [""]
        self.state.name_error = name_error(self.state.folder, draft.name, endings)

    # who else trains here

    def _look_ahead(self) -> None:
        if self.step is self.review and not self.state.starting:
            self.run_worker(self._take_ahead, group="ahead", exclusive=True, exit_on_error=False)

    async def _take_ahead(self) -> None:
        found = await aside(ahead, self.state.folder)
        if found != self.state.ahead:
            self.state.ahead = found
            self.confirmed.discard(BESIDE)  # that was of others
            self.tell()

    # memory, duration and disk

    def estimate_soon(self) -> None:
        """Estimate once the typing pauses."""
        self.state.needs = self.state.lasting = None
        if self._pause:
            self._pause.stop()
        self._pause = self.set_timer(ESTIMATE_PAUSE, self._start_estimate)

    def _start_estimate(self) -> None:
        self.run_worker(self._estimate, group="needs", exclusive=True, exit_on_error=False)

    async def _estimate(self) -> None:
        state = self.state
        state.disk_free = await aside(needs.disk_free, state.folder)
        try:
            recipes = state.draft.recipes()
        except RecipeError:
            recipes = []
        card, data = state.card, state.data
        lengths = data.longest, data.longest_pair, data.answers
        state.needs = await aside(needs.most, card, recipes, *lengths) if card and recipes else None
        self.tell()
        amounts = data.pairs, data.held_out, data.tokens_a_pair
        state.lasting = await aside(self.earlier.lasting, recipes, *amounts) if recipes else None
        self.tell()
