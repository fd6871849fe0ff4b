"""Examples as they are tokenised, in flat arrays; their tokens go to a file as they come where there is one."""

from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mio_local.data.examples import CUT_CHOSEN, CUT_PROMPT, CUT_REJECTED, END_INSIDE, Arrays, Example, Examples, Scored

BUFFER = 1 << 20  # tokens held before they are written


class Collected:
    """`ends` are the tokens that end an answer. `file` gets the tokens, and holds them from then on."""

    def __init__(self, ends: set[int], file: Path | None = None) -> None:
        self._ends = ends
        self._file = file.open("wb") if file else None
        self._path = file
        self._tokens, self._lengths, self._flags, self._numbers = array("i"), array("i"), array("B"), array("i")
        self.scored: dict[int, Scored] = {}

    def add(self, example: Example, number: int) -> None:
        """The example of pair `number`."""
        if example.scored:
            self.scored[number] = example.scored
        for ids in (example.prompt, example.chosen, example.rejected):
            self._tokens.extend(ids)
            self._lengths.append(len(ids))
        inside = not all(self._ends.isdisjoint(answer[:-1]) for answer in (example.chosen, example.rejected))
        self._flags.append(
            CUT_CHOSEN * example.truncated_chosen | CUT_REJECTED * example.truncated_rejected
            | CUT_PROMPT * example.cut_prompt | END_INSIDE * inside
        )  # fmt: skip
        self._numbers.append(number)
        self._write()

    def extend(self, made: Arrays, first: int) -> None:
        """Examples whose pairs are numbered from `first` on."""
        self._tokens.frombytes(made.tokens.astype(np.int32, copy=False).tobytes())
        self._lengths.frombytes(made.lengths.astype(np.int32, copy=False).tobytes())
        self._flags.frombytes(made.flags.tobytes())
        self._numbers.frombytes((made.numbers + np.int32(first)).tobytes())
        self.scored |= {number + first: spans for number, spans in made.scored.items()}
        self._write()

    def _write(self) -> None:
        if self._file and len(self._tokens) > BUFFER:
            self._tokens.tofile(self._file)
            self._tokens = array("i")

    def examples(self, places: Callable[[int], str]) -> Examples:
        """All of them; `places` tells where pair number so and so stands."""
        lengths = np.frombuffer(self._lengths, np.int32).reshape(-1, 3)
        if self._file and self._path:
            self._tokens.tofile(self._file)
            self._file.close()
            tokens = np.memmap(self._path, np.int32, "r") if len(lengths) else np.zeros(0, np.int32)
        else:
            tokens = np.frombuffer(self._tokens, np.int32)
        return Examples(
            tokens, starts_of(lengths), lengths, np.frombuffer(self._flags, np.uint8),
            np.frombuffer(self._numbers, np.int32), places, self.scored,
        )  # fmt: skip

    def close(self) -> None:
        """Let go of the file, where nothing comes of it."""
        if self._file:
            self._file.close()


def starts_of(lengths: np.ndarray) -> np.ndarray:
    """Where examples of these lengths (n, 3) begin, one after the other: (n,) int64."""
    totals = lengths.sum(1, dtype=np.int64)
    return np.cumsum(totals) - totals
