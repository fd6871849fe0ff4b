"""A finished or growing run, read back from its events: series for the tables and the curves."""

from dataclasses import dataclass
from typing import Any

from mio_local.events import read_events
from mio_local.recipe import Recipe, build, read_toml
from mio_local.runs import Run


@dataclass(frozen=True)
class History:
    """A run's recipe, and its events by type, oldest first."""

    run: Run
    recipe: Recipe
    events: dict[str, list[dict[str, Any]]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Events of one type."""
        return self.events.get(kind, [])

    def series(self, kind: str, key: str) -> tuple[list[int], list[float]]:
        """(steps, values) of one figure; events that lack it, or hold no number, are passed over."""
        points = [(event["step"], event[key]) for event in self.of(kind) if isinstance(event.get(key), (int, float))]
        return [step for step, _ in points], [value for _, value in points]


def read(run: Run) -> History:
    """Read a run. Raises RecipeError or RunError for a damaged one."""
    events: dict[str, list[dict[str, Any]]] = {}
    for event in read_events(run.events):
        events.setdefault(str(event["type"]), []).append(event)
    return History(run, build(read_toml(run.recipe), str(run.recipe)), events)
