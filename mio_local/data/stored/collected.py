"""Examples as they are tokenised, in flat arrays; their tokens go to a file as they come where there is one."""

import math
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mio_local.data.examples import (
    CUT_CHOSEN,
    CUT_PROMPT,
    CUT_REJECTED,
    END_INSIDE,
    PARTS,
    Arrays,
    Example,
    Examples,
    Scored,
)

BUFFER = 1 << 20  # tokens held before they are written


class Collected:
    """`ends` are the tokens that end an answer. `file` gets the tokens, and holds them from then on."""

    def __init__(self, ends: set[int], file: Path | None = None) -> None:
        self._ends = ends
        self._file = file.open("wb") if file else None
        self._path = file
        self._tokens, self._lengths, self._flags, self._numbers = array("i"), array("i"), array("B"), array("i")
        self._rewards = array("d")  # empty until an example has some
        self._answers = PARTS - 1  # of the example with the most
        self.scored: dict[int, Scored] = {}

    def add(self, example: Example, number: int) -> None:
        """The example of pair `number`."""
        if example.scored:
            self.scored[number] = example.scored
        answers = example.answers
        self._widen(len(answers))
        for ids in (example.prompt, *answers):
            self._tokens.extend(ids)
            self._lengths.append(len(ids))
        self._lengths.extend([0] * (self._answers - len(answers)))
        if example.rewards:
            self._with_rewards()
        if example.rewards or self._rewards:
            self._rewards.extend(example.rewards or [math.nan] * len(answers))
            self._rewards.extend([0.0 if example.rewards else math.nan] * (self._answers - len(answers)))
        inside = not all(self._ends.isdisjoint(answer[:-1]) for answer in answers)
        self._flags.append(
            CUT_CHOSEN * example.truncated_chosen | CUT_REJECTED * example.truncated_rejected
            | CUT_PROMPT * example.cut_prompt | END_INSIDE * inside
        )  # fmt: skip
        self._numbers.append(number)
        self._write()

    def extend(self, made: Arrays, first: int) -> None:
        """Examples whose pairs are numbered from `first` on."""
        self._tokens.frombytes(made.tokens.astype(np.int32, copy=False).tobytes())
        self._widen(made.lengths.shape[1] - 1)
        more = self._answers + 1 - made.lengths.shape[1]
        self._lengths.frombytes(np.pad(made.lengths.astype(np.int32, copy=False), ((0, 0), (0, more))).tobytes())
        if made.rewards is not None:
            self._with_rewards()
            self._rewards.frombytes(_wider(made.rewards, self._answers).tobytes())
        elif self._rewards:
            self._rewards.extend([math.nan] * (len(made.lengths) * self._answers))
        self._flags.frombytes(made.flags.tobytes())
        self._numbers.frombytes((made.numbers + np.int32(first)).tobytes())
        self.scored |= {number + first: spans for number, spans in made.scored.items()}
        self._write()

    def _widen(self, answers: int) -> None:
        """Take examples of so many answers from here on."""
        if answers <= self._answers:
            return
        lengths = np.pad(self._table, ((0, 0), (0, answers - self._answers)))
        rewards = _wider(np.array(self._rewards).reshape(-1, self._answers), answers)
        self._lengths, self._rewards = array("i", lengths.tobytes()), array("d", rewards.tobytes())
        self._answers = answers

    def _with_rewards(self) -> None:
        """Those before the first that has rewards have none."""
        if not self._rewards:
            self._rewards.extend([math.nan] * (len(self._flags) * self._answers))

    @property
    def _table(self) -> np.ndarray:
        return np.frombuffer(self._lengths, np.int32).reshape(-1, 1 + self._answers)

    def _write(self) -> None:
        if self._file and len(self._tokens) > BUFFER:
            self._tokens.tofile(self._file)
            self._tokens = array("i")

    def examples(self, places: Callable[[int], str]) -> Examples:
        """All of them; `places` tells where pair number so and so stands."""
        lengths = self._table
        rewards = np.frombuffer(self._rewards).reshape(-1, self._answers) if self._rewards else None
        if self._file and self._path:
            self._tokens.tofile(self._file)
            self._file.close()
            tokens = np.memmap(self._path, np.int32, "r") if len(lengths) else np.zeros(0, np.int32)
        else:
            tokens = np.frombuffer(self._tokens, np.int32)
        return Examples(
            tokens, starts_of(lengths), lengths, np.frombuffer(self._flags, np.uint8),
            np.frombuffer(self._numbers, np.int32), places, self.scored, rewards=rewards,
        )  # fmt: skip

    def close(self) -> None:
        """Let go of the file, where nothing comes of it."""
        if self._file:
            self._file.close()


def _wider(rewards: np.ndarray, answers: int) -> np.ndarray:
    """Rewards (n, A) of examples as (n, answers): 0 of an absent answer, NaN in those that have none."""
    more = np.repeat(rewards[:, :1] * 0, answers - rewards.shape[1], axis=1)
    return np.concatenate([rewards, more], axis=1)


def starts_of(lengths: np.ndarray) -> np.ndarray:
    """Where examples of these lengths (n, 1 + A) begin, one after the other: (n,) int64."""
    totals = lengths.sum(1, dtype=np.int64)
    return np.cumsum(totals) - totals
