"""The highlighted run beside the list: what it is, its likelihood curves, its newest figures."""

import asyncio
from pathlib import Path

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from mio_local.runs.directory import Run
from mio_local.runs.history import History
from mio_local.runs.summary import accuracy
from mio_tui.chart import SMOOTHING, Chart
from mio_tui.formatting import STATES, block, count, line, number
from mio_tui.live.plots import Look, Plot, likelihood
from mio_tui.watched import Watched


class RunPreview(Vertical):
    """One run, read and drawn again each time it is shown."""

    DEFAULT_CSS = """
    RunPreview {
        border-left: solid $border-blurred; padding: 0 1;
        #what { height: 6; }
        #figures { height: 4; }
        Chart { height: 1fr; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.watched: Watched | None = None
        self.busy: Watched | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="what", markup=False)
        chart = Chart(empty="no figures yet")
        chart.smoothing = SMOOTHING[2]
        yield chart
        yield Static(id="figures", markup=False)

    def show(self, run: Run | None) -> None:
        """Show this run; the one that is shown already is only read further."""
        if run is None:
            return
        if self.watched is None or self.watched.run != run:
            self.watched = Watched(run)
        self.read(self.watched)

    @work(exit_on_error=False)
    async def read(self, watched: Watched) -> None:
        """Read what is new, then draw. A read that goes on is not cancelled: what it has read would be lost."""
        if watched is self.busy:
            return
        self.busy = watched
        watched.refresh_status()
        try:
            await watched.load()
            plot = await asyncio.to_thread(_plot, watched)
        finally:
            self.busy = None if self.busy is watched else self.busy
        if watched is self.watched:
            self.draw(watched, plot)

    def draw(self, watched: Watched, plot: Plot) -> None:
        """The words and the curves."""
        state = watched.state
        sign, _ = STATES.get(state, STATES["damaged"])
        what = Text(f"{sign} {state}  ").append_text(line(watched.run.name, 60, "bold"))
        if watched.history is None:
            what.append("\n").append_text(block(watched.trouble, 200))
            self.query_one("#what", Static).update(what, layout=False)
            self.query_one(Chart).show(())
            self.query_one("#figures", Static).update("", layout=False)
            return
        recipe = watched.history.recipe
        lora, train = recipe.lora, recipe.train
        what.append(f"\n{recipe.loss.name.upper()} β {recipe.loss.beta:g} · {lora.kind} r{lora.rank} α{lora.alpha:g}")
        what.append(f" · lr {train.learning_rate:g}\n").append_text(line(_short(recipe.model.name), 120))
        what.append("\n").append_text(line(_short(recipe.data.source), 120))
        if reason := str(watched.status.get("reason") or ""):
            what.append("\n").append_text(line(reason, 160))
        self.query_one("#what", Static).update(what, layout=False)
        total = count(watched.status.get("total_steps"))
        self.query_one(Chart).show(plot.curves, plot.guides, float(total) if total else None)
        self.query_one("#figures", Static).update(_figures(watched.history), layout=False)


def _plot(watched: Watched) -> Plot:
    with watched.lock:
        return likelihood(watched.history, Look())


def _figures(history: History) -> Text:
    kind = "eval" if history.of("eval") else "step"
    last = history.last(kind)
    if not last:
        return Text("no evaluation yet")
    chosen, rejected = (number(last.get(f"delta/{side}")) for side in ("chosen", "rejected"))
    right = number(accuracy(last), ".2f")
    where = "held out" if kind == "eval" else "training"
    words = f"{where}, step {last['step']}\nchosen {chosen}  rejected {rejected}\n"
    return Text(f"{words}accuracy {right}  loss {number(last.get('loss'), '.3f')}")


def _short(name: str) -> str:
    """A hub name as it is; of a path the last two parts."""
    return "/".join(Path(name).parts[-2:])
