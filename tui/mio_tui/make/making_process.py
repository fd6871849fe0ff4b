"""`mio-local data make` at work: how long it still takes, what it came to, and what its pairs are trained with."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mio_local.making.hand_review import HAND
from mio_tui.actions.command_process import CommandProcess

REPORT = ".report.md"  # behind the file's name
DRAWING = "drawing"  # what it says it is doing while answers are drawn
FEWEST = 2.0  # seconds of drawing from which on the rest is told


class MakingProcess(CommandProcess):
    """`words` is its command line without the program; `tables` is what trains on the pairs; `typed` the command line
    as it is shown."""

    def __init__(
        self, words: Sequence[str], file: Path, tables: dict[str, Any], typed: str, columns: int = 80
    ) -> None:
        super().__init__(None, f"Make {file.name}", [[*words, "--examples", "0"]], columns=columns)
        self.words, self.file, self.tables, self.typed = words, file, tables, typed
        self._begun: tuple[float, int] | None = None  # when the first figure of answers came, and which

    @property
    def report(self) -> Path:
        """Its report with examples."""
        return self.file.with_name(f"{self.file.name}{REPORT}")

    @property
    def has_pairs(self) -> bool:
        """Whether it is over and something is there to review, or to train on."""
        return self.over and self.file.is_file() and self.file.stat().st_size > 0

    @property
    def by_hand(self) -> bool:
        """Whether its pairs are still to be made: by who reviews them."""
        return ("--judge", HAND) in zip(self.words, self.words[1:], strict=False)

    @property
    def left(self) -> float:
        """Seconds that the drawing still takes, 0 where that is unknown."""
        if not self._begun or not self.doing.startswith(DRAWING):
            return 0.0
        began, before = self._begun
        spent, drawn = time.monotonic() - began, self.done - before
        return (self.total - self.done) * spent / drawn if drawn > 0 and spent > FEWEST else 0.0

    def outcome(self, said: Sequence[str]) -> str:
        return next((text for text in said if " pairs of " in text), super().outcome(said))

    def _is_progress(self, text: str) -> bool:
        taken = super()._is_progress(text)
        if taken and not self._begun and self.doing.startswith(DRAWING):
            self._begun = time.monotonic(), self.done
        return taken
