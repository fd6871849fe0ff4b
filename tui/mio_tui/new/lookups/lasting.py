"""About how long the draft will train, from an earlier run of the folder that was like it."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mio_local.errors import MioError
from mio_local.recipe import Recipe, build, read_toml
from mio_local.reports.duration import Speed, likeness, parts_of, plan_of, seconds, speed_of
from mio_local.runs import directory
from mio_local.runs.directory import Run
from mio_local.runs.history import read
from mio_tui.new.lookups.ahead import short

NEWEST_RUNS = 20  # that are looked at: each has a recipe to read
UNKNOWN = "duration: known after the first steps"


@dataclass(frozen=True)
class Lasting:
    """Seconds, 0 where they are unknown, and the runs that they were taken from."""

    seconds: float = 0.0
    like: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """In one line, with where it is from."""
        if not self.seconds:
            return UNKNOWN
        return f"{about(self.seconds)}, as in {', '.join(map(short, self.like))}"


@dataclass
class Earlier:
    """The folder's newest runs, each read once. `lasting` reads files, so it is for a thread."""

    folder: Path
    _recipes: dict[str, Recipe | None] = field(default_factory=dict[str, Recipe | None])
    _speeds: dict[str, Speed | None] = field(default_factory=dict[str, Speed | None])

    def lasting(self, recipes: list[Recipe], pairs: int, held_out: int, tokens_a_pair: float) -> Lasting:
        """How long these train one after the other, with so many pairs to train on and held out, of so many tokens, a
        prompt counted twice. Unknown where the tokens are, or a run like one of them is."""
        if not (pairs and tokens_a_pair):
            return Lasting()
        total, like = 0.0, dict[str, None]()
        with suppress(MioError, OSError, ArithmeticError, ValueError):  # figures of any length can be typed
            for recipe in recipes:
                for part in parts_of(recipe.absolute()):
                    found = self._like(part)
                    if not found:
                        return Lasting()
                    name, speed = found
                    scored = speed.scored if part.data.eval_source else held_out  # a file of its own is not counted
                    total += seconds(speed, plan_of(part, pairs, scored, tokens_a_pair))
                    like[name] = None
            return Lasting(total, tuple(like))
        return Lasting()

    def _like(self, recipe: Recipe) -> tuple[str, Speed] | None:
        """The run that is most like `recipe`, the newest of those, and how fast it was. Raises RunError."""
        ranked: list[tuple[int, Run]] = []
        for run in directory.list_runs(self.folder)[:NEWEST_RUNS]:
            earlier = self._recipe(run)
            if earlier and (same := likeness(recipe, earlier)) is not None:
                ranked.append((same, run))
        ranked.sort(key=lambda found: -found[0])
        return next(((run.name, speed) for _, run in ranked if (speed := self._speed(run))), None)

    def _recipe(self, run: Run) -> Recipe | None:
        if run.name not in self._recipes:
            self._recipes[run.name] = None
            with suppress(MioError):
                self._recipes[run.name] = build(read_toml(run.recipe), str(run.recipe))
        return self._recipes[run.name]

    def _speed(self, run: Run) -> Speed | None:
        if run.name not in self._speeds:
            self._speeds[run.name] = None
            with suppress(MioError, OSError):
                self._speeds[run.name] = speed_of(read(run))
        return self._speeds[run.name]


def about(seconds: float) -> str:
    """Seconds as an estimate tells them: about 40 s, about 22 min, about 3.5 h, about 4 days."""
    if seconds < 90:
        return f"about {max(1, round(seconds, -1) if seconds >= 20 else round(seconds)):.0f} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    hours = seconds / 3600
    if hours < 48:
        return f"about {hours:.1f} h" if hours < 10 else f"about {hours:.0f} h"
    return f"about {hours / 24:.0f} days" if hours < 24e4 else "more than 10,000 days"
