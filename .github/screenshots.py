r"""Draws the README's pictures of the app from real runs: python .github/screenshots.py

Run in the repository's folder, after these commands (some fifteen minutes on two cores):

    export MIO_LOCAL_RUNS=~/runs                # pictures show this path
    mio-local train --name demo-rloo --model recipes/demo/model --prompts recipes/demo/train.jsonl \
        --judge last-number --loss rloo --beta 0.05 --rounds 60 --answers 4 --batch-size 32 --rank 8 --alpha 16 \
        --learning-rate 1e-3 --eval-every 10 --set data.eval_fraction=0.3 --set eval.pairs=500
    mio-local demo

It makes the pairs of its pictures itself, by the app's form: pairs.jsonl, in that folder, which must not hold one, nor
the files of that name that belong to it.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input

from mio_local.chat.start import ChatStart
from mio_local.runs.directory import Run, runs_folder
from mio_tui.app import MioApp
from mio_tui.make.making_screen import MakingScreen
from mio_tui.new.screen import NewRunScreen
from mio_tui.screens.chat import ChatScreen
from mio_tui.screens.compare import CompareScreen
from mio_tui.screens.live import LiveScreen
from mio_tui.screens.make_pairs import MakePairsScreen
from mio_tui.screens.review_pairs import ReviewPairsScreen
from mio_tui.theme import DARK

HERE = Path(__file__).parent
SIZE = (132, 38)
MODEL, DATA, PAIRS = "recipes/demo/model", "recipes/demo/train.jsonl", "pairs.jsonl"
MIO, DPO, ROUNDS = (Run(runs_folder(None) / f"demo-{loss}") for loss in ("mio", "dpo", "rloo"))
PROMPTS, REVIEWED = "200", 5  # prompts of which pairs are made; pairs that are decided on before the picture
LONGEST = 900.0  # seconds that a picture is waited for: the making takes two minutes
QUESTION = "Ada bakes 8 trays of 2 rolls, eats 3 and sells 7. How many rolls are left?"


class Pictures:
    """Opens the screens in turn, and writes what they show."""

    def __init__(self, app: MioApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    async def all(self) -> None:
        """One SVG for each screen."""
        await self.save("runs")
        await self.live(MIO, "live")
        await self.live(ROUNDS, "rewards")
        await self.compare()
        await self.new_run()
        await self.chat()
        await self.make_pairs()

    async def save(self, name: str) -> None:
        """What the screen shows, once it has come to rest, as an SVG."""
        await self.pilot.pause(1.5)
        (HERE / f"{name}.svg").write_text(self.app.export_screenshot(title="mio-local"), encoding="utf-8")

    async def until(self, ready: Callable[[], object]) -> None:
        """Wait for it; TimeoutError where it does not come, as of pairs that are there already."""
        async with asyncio.timeout(LONGEST):
            while not ready():
                await self.pilot.pause(0.2)

    async def live(self, run: Run, name: str) -> None:
        """A run's curves and its newest answers."""
        screen = LiveScreen(run)
        await self.app.push_screen(screen)
        await self.until(lambda: screen.was_read)
        await self.save(name)
        await self.app.pop_screen()

    async def compare(self) -> None:
        """The demo's two runs."""
        await self.app.push_screen(CompareScreen([MIO, DPO]))
        await self.save("compare")
        await self.app.pop_screen()

    async def new_run(self) -> None:
        """The form for a new run at its data, with the memory and the time that it takes."""
        screen = NewRunScreen({"model": {"name": MODEL}, "data": {"source": DATA, "max_tokens": 128}})
        await self.app.push_screen(screen)
        await self.pilot.pause(1.5)
        await self.pilot.press("f3")
        await self.until(lambda: screen.state.needs and screen.state.lasting and screen.state.data.summary)
        await self.save("new-run")
        await self.app.pop_screen()

    async def chat(self) -> None:
        """A question to the base and to what was trained, the answers kept as a pair."""
        screen = ChatScreen(ChatStart([MIO.name]))
        await self.app.push_screen(screen)
        await self.until(lambda: screen.ready)
        screen.query_one("#ask", Input).value = QUESTION
        await self.pilot.press("enter")
        await self.pilot.pause(1)
        await self.until(lambda: not screen.busy)
        await self.pilot.press("f4")
        await self.save("chat")
        await self.app.pop_screen()

    async def make_pairs(self) -> None:
        """The report of a making, then the review of its pairs."""
        form = MakePairsScreen(self.app.folder, {"model": {"name": MODEL}})
        await self.app.push_screen(form)
        fields = {"make.prompts": DATA, "make.limit": PROMPTS, "make.out": PAIRS}
        for key, typed in fields.items():
            form.field(key).query_one(Input).value = typed
        await self.until(lambda: all(form.draft.text(key) == typed for key, typed in fields.items()))
        await self.pilot.press("ctrl+s")
        await self.until(lambda: isinstance(self.app.screen, MakingScreen) and self.app.screen.making.has_pairs)
        await self.pilot.press("e")
        await self.save("make-pairs")
        await self.pilot.press("r")
        await self.until(lambda: isinstance(self.app.screen, ReviewPairsScreen) and self.app.screen.asked)
        for _ in range(REVIEWED):
            await self.pilot.press(better(self.app.screen))
        await self.save("review-pairs")


def better(screen: object) -> str:
    """The key of the right answer: the one that was chosen, by the known answer."""
    assert isinstance(screen, ReviewPairsScreen)
    assert screen.asked
    return "1" if screen.asked.first == screen.asked.row["chosen"] else "2"


async def draw() -> None:
    """All pictures, of the app at one size and in one theme."""
    app = MioApp(runs_folder(None))
    async with app.run_test(size=SIZE) as pilot:
        app.theme = DARK.name  # the terminal that this runs in may have 16 colours
        await Pictures(app, pilot).all()


asyncio.run(draw())
