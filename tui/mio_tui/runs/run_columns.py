"""The columns of the list of runs: what each shows, what rows are ordered by, and which fit into a width."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.cells import cell_len, set_cell_size

from mio_local.runs.summary import Row
from mio_local.text import visible_line
from mio_tui import formatting
from mio_tui.formatting import STATES, short, short_rate

STATE_ORDER = tuple(STATES)
GAP = 2  # cells between two columns
LEAST_NAME, LEAST_TOLD = 16, 12  # cells to which these two give way to others
LONGEST = 200  # characters that a cell can show


class Column(NamedTuple):
    """What it shows of a row, and what rows are ordered by, where None and nothing come last. It is as wide as its
    words, from `least` to `most` cells; `down`: the largest comes first, until the order is turned."""

    title: str
    words: Callable[[Row], str]
    value: Callable[[Row], Any]
    least: int
    most: int = 0
    right: bool = False
    down: bool = False


class Order(NamedTuple):
    """A column's name, and whether its order is turned."""

    column: str = "when"
    turned: bool = False

    @property
    def sign(self) -> str:
        """▼ where the largest comes first."""
        return "▼" if COLUMNS[self.column].down != self.turned else "▲"

    @property
    def words(self) -> str:
        return f"by {COLUMNS[self.column].title or self.column} {self.sign}"


class Place(NamedTuple):
    """Where a column stands: how many cells from the left, and how many it has."""

    name: str
    left: int
    width: int


def clock() -> float:
    """Now, at the last full minute: so that all ages change at once, once a minute."""
    return formatting.now() // 60 * 60


def told(row: Row) -> list[str]:
    """What there is to say of a run: what it does or why it ended, how it went, what its user noted."""
    return [words for words in (row.note, row.verdict, row.remark) if words]


def _told(row: Row) -> str:
    return " · ".join(told(row))


def _change(row: Row) -> str:
    arrow = "" if row.change is None or not row.live else " ↑" if row.change >= 0 else " ↓"
    return short(row.change, 2, "+") + arrow


def _beta(row: Row) -> float | None:
    return None if row.objective == "sft" else row.beta  # which has no use for it


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _when(row: Row) -> str:
    """How long ago a run ended; of one that has not, its state."""
    if row.live or row.state in ("queued", "lost", "damaged"):
        return row.state
    return formatting.ago(clock() - row.time).removesuffix(" ago")


def _recency(row: Row) -> tuple[int, float]:
    """Runs that are alive, then those that wait, then the others by when they ended."""
    return (2, 0.0) if row.live else (1, 0.0) if row.state == "queued" else (0, row.time)


def _natural(row: Row) -> list[int | str]:
    """Letters and numbers in turn, so that run-10 comes after run-9."""
    parts = re.split(r"(\d+)", row.name.lower())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def _steps(row: Row) -> int | None:
    done = row.step.partition("/")[0]
    return int(done) if done.isdecimal() and len(done) < 16 else None


COLUMNS = {
    "state": Column("", lambda row: STATES[row.state][0], lambda row: STATE_ORDER.index(row.state), 2),
    "run": Column("run", lambda row: row.name, _natural, 6, 40),
    "model": Column("model", lambda row: row.model, lambda row: row.model.lower(), 0, 20),
    "objective": Column("obj", lambda row: row.objective.upper(), lambda row: row.objective.lower(), 3, 6),
    "rate": Column("lr", lambda row: short_rate(row.rate), lambda row: row.rate, 4, 6, right=True),
    "beta": Column("β", lambda row: _plain(_beta(row)), _beta, 3, 5, right=True),
    "rank": Column("rank", lambda row: _plain(row.rank), lambda row: row.rank, 4, right=True),
    "change": Column("Δchosen", _change, lambda row: row.change, 7, right=True, down=True),
    "accuracy": Column("acc", lambda row: short(row.accuracy, 2), lambda row: row.accuracy, 4, right=True, down=True),
    "loss": Column("loss", lambda row: short(row.loss, 3), lambda row: row.loss, 5, right=True),
    "step": Column("step", lambda row: row.step, _steps, 4, 11, right=True, down=True),
    "when": Column("when", _when, _recency, 8, down=True),
    "tags": Column("tags", lambda row: " ".join(row.tags), lambda row: row.tags, 0, 16),
    "told": Column("verdict", _told, _told, 0, LONGEST),
}
WANTED = (  # first the one that is left out last
    "state", "run", "change", "when", "objective", "accuracy", "loss", "step", "rate", "beta", "rank", "tags", "told",
    "model",
)  # fmt: skip


def needs(rows: Sequence[Row]) -> dict[str, int]:
    """How many cells each column would use."""
    found: dict[str, int] = {}
    for name, column in COLUMNS.items():
        longest = max((len(column.words(row)) for row in rows), default=0) if column.most else 0
        least = max(column.least, len(column.title)) if longest else column.least
        found[name] = max(least, min(longest, column.most))
    return found


def placed(needed: dict[str, int], width: int) -> list[Place]:
    """The columns that `width` cells hold, from the left; names and the last column take what the others leave."""
    room = {**needed, "run": min(needed["run"], LEAST_NAME), "told": min(needed["told"], LEAST_TOLD)}
    taken: dict[str, int] = {}
    left = width - 1
    for name in WANTED:
        if room[name] + GAP > left and taken:
            break
        if room[name]:
            taken[name] = room[name]
            left -= room[name] + GAP
    for name in ("run", "told"):
        if name in taken:
            more = min(needed[name] - taken[name], left)
            taken[name] += more
            left -= more
    places: list[Place] = []
    at = 1
    for name in COLUMNS:
        if name in taken:
            places.append(Place(name, at, taken[name]))
            at += taken[name] + GAP
    return places


def next_column(places: Sequence[Place], name: str) -> str:
    """The shown column right of this one; the first after the last."""
    names = [place.name for place in places]
    return names[(names.index(name) + 1) % len(names)] if name in names else names[0]


def fitted(words: str, width: int, *, right: bool = False, middle: bool = False) -> str:
    """`words` in so many cells, made visible. Where they are too long their end is left out, or their `middle`: names
    of runs differ at their ends."""
    words = visible_line(words, LONGEST)
    if cell_len(words) > width:
        kept = (width - 1) // 2 if middle else 0
        while cell_len(end := words[len(words) - kept :]) > width // 2:
            kept -= 1
        words = set_cell_size(words, width - 1 - cell_len(end)) + "…" + end
    blank = " " * (width - cell_len(words))
    return blank + words if right else words + blank
