"""The runs of a comparison, each with its letter, its colour and its line."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from mio_local.runs.directory import Run
from mio_tui.formatting import STATES
from mio_tui.watched import Watched

LETTERS = "ABCD"
MOST = len(LETTERS)


@dataclass
class Member:
    """A run in the comparison: its curves are drawn while it is `shown` and can be read."""

    watched: Watched
    letter: str
    shown: bool = True

    @property
    def name(self) -> str:
        return self.watched.run.name

    @property
    def color(self) -> str:
        """The chart's name for its colour; the theme's is `run-` and this."""
        return self.letter.lower()

    @property
    def dash(self) -> bool:
        """Every second run is dashed, so that neighbours are told apart without colour."""
        return LETTERS.index(self.letter) % 2 == 1

    @property
    def trouble(self) -> str:
        """Why it cannot be drawn, empty where it can."""
        watched = self.watched
        if watched.trouble:
            return watched.trouble
        if watched.history is None:
            return str(watched.status.get("reason", "")) if watched.state in ("damaged", "lost") else ""
        if not watched.history.events and watched.bad_lines:
            return f"{watched.run.events}: damaged: none of its {watched.bad_lines} lines is an event"
        return ""

    @property
    def drawn(self) -> bool:
        """Whether it takes part in the curves and the difference."""
        return self.shown and self.watched.history is not None and not self.trouble

    @property
    def sign(self) -> str:
        """How its line looks, or that it has none."""
        if self.trouble:
            return STATES["damaged"][0]
        return ("╍" if self.dash else "━") if self.shown else "·"


class Members(list[Member]):
    """The runs of a comparison, each once, at most as many as there are letters."""

    def __init__(self, runs: Iterable[Run]) -> None:
        super().__init__()
        self.left_out = 0
        for run in runs:
            self.join(run)

    @property
    def paths(self) -> set[str]:
        """Where they lie."""
        return {os.path.realpath(member.watched.run.path) for member in self}

    def join(self, run: Run) -> None:
        """Take a run in, or count it as left out."""
        if os.path.realpath(run.path) in self.paths:
            return
        if len(self) == MOST:
            self.left_out += 1
        else:
            self.append(Member(Watched(run), LETTERS[len(self)]))
