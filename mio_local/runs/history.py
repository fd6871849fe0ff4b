"""A finished or growing run, read back from its events: series for the tables and the curves."""

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mio_local.recipe import Recipe, build, read_toml
from mio_local.runs.directory import Run
from mio_local.runs.events import is_number
from mio_local.runs.summary import ROUNDING, accuracy
from mio_local.runs.tail import Tail

ACCURACY = "rewards/accuracies"
Axis = str  # step, tokens or time


@dataclass
class History:
    """A run's recipe, and its events by type, oldest first; `bad` counts the lines that make no sense."""

    run: Run
    recipe: Recipe
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    version: int = 0  # counts the changes
    bad: int = 0
    _columns: dict[str, dict[str, "array[float]"]] = field(default_factory=dict[str, dict[str, "array[float]"]])

    def add(self, records: Iterable[dict[str, Any]], *, again: bool = False) -> None:
        """Take in what a `Tail` read; `again` where the file began anew."""
        if again:
            self.events.clear()
            self._columns.clear()
            self.version += 1
        for record in records:
            self.events.setdefault(record["type"], []).append(record)
            self.version += 1

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Events of one type."""
        return self.events.get(kind, [])

    def last(self, kind: str) -> dict[str, Any]:
        """The newest event of a type, or an empty one."""
        found = self.of(kind)
        return found[-1] if found else {}

    def benchmarks(self) -> list[dict[str, Any]]:
        """What `mio-local eval` found: the newest of each figure, at a step and on the same data."""
        keys, found = ("name", "metric", "of", "data", "step"), self.of("benchmark")
        return list({tuple(str(event.get(key) or "") for key in keys): event for event in found}.values())

    def series(self, kind: str, key: str) -> tuple[list[int], list[float]]:
        """(steps, values) of one figure; events that lack it, or hold no number, are passed over, and accuracies of a
        model that has not moved."""
        points = [(event["step"], event[key]) for event in self.of(kind) if is_number(event.get(key))
                  and (key != ACCURACY or accuracy(event) is not None)]
        return [step for step, _ in points], [value for _, value in points]

    def column(self, kind: str, key: str, by: Axis = "step") -> tuple[np.ndarray, np.ndarray]:
        """(x, y) of one figure, float64, x ascending; y is NaN where an event lacks it or holds no finite number, and
        for the accuracy where the model has not moved: see `summary.accuracy`.

        `by` gives x: optimiser steps, tokens trained on, or seconds spent in steps. Costs only what is new since the
        last call.
        """
        steps, values = self._numbers(kind, "step"), self._numbers(kind, key)
        if key == ACCURACY:
            sides = [np.abs(self._numbers(kind, f"delta/{side}")) < ROUNDING for side in ("chosen", "rejected")]
            values = np.where(sides[0] & sides[1], math.nan, values)
        if by == "step" or (kind != "step" and not self.of("step")):
            return steps, values
        return self._place(steps, by), values

    def _numbers(self, kind: str, key: str) -> np.ndarray:
        """A copy of one column. What is new is read for all columns that are as far: a pass for each takes longer."""
        events, columns = self.of(kind), self._columns.setdefault(kind, {})
        done = len(columns.setdefault(key, array("d")))
        if done < len(events):
            behind = {name: column for name, column in columns.items() if len(column) == done}
            found = _numbers([event.get(name) for event in events[done:] for name in behind])
            for column, numbers in zip(behind.values(), found.reshape(-1, len(behind)).T, strict=True):
                column.frombytes(numbers.tobytes())
        return np.array(columns[key])

    def _place(self, steps: np.ndarray, by: Axis) -> np.ndarray:
        """Tokens or seconds at the given steps."""
        done, figure = self.column("step", "num_tokens" if by == "tokens" else "perf/seconds")
        figure = np.clip(np.nan_to_num(figure), 0, 1e15)
        amount = np.maximum.accumulate(figure) if by == "tokens" else np.cumsum(figure)
        return np.interp(steps, np.concatenate([[0.0], done]), np.concatenate([[0.0], amount]))


def _numbers(values: list[Any]) -> np.ndarray:
    """Float64 of what JSON gave; NaN for what is no finite number."""
    if not {float, int, type(None)}.issuperset(map(type, values)):
        values = [value if is_number(value) else math.nan for value in values]
    try:
        numbers = np.array(values, np.float64)
    except OverflowError:  # a whole number that no float holds
        numbers = np.array([value if is_number(value) else math.nan for value in values], np.float64)
    numbers[~np.isfinite(numbers)] = math.nan
    return numbers


def read(run: Run) -> History:
    """Read a run, whatever its events hold. Raises RecipeError where its recipe is damaged."""
    history, tail = History(run, build(read_toml(run.recipe), str(run.recipe))), Tail(run.events)
    while True:
        again, records = tail.poll()
        history.add(records, again=again)
        if not tail.behind:
            history.bad = tail.bad
            return history
