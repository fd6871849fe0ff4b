"""Rows of a prompt and one continuation as arrays: what a backend needs to score them, however they are batched."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mio_local.arrays import padded

Row = tuple[Sequence[int], Sequence[int]]  # the ids of a prompt and of what follows it, one at least of each
Score = tuple[float, bool]  # summed log-prob, nats; whether each token is the likeliest one
MOST = 2**14  # tokens fed at a time on a GPU


@dataclass(frozen=True)
class Fed:
    """Rows that go through the model together.

    inputs (n, L) int32: prompt and continuation but its last token, padded on the right. where (T,) int32: the
    position, in the flattened inputs, that predicts each token of a continuation. targets (T,) int32: those tokens.
    row (T,) int32: whose they are.
    """

    inputs: np.ndarray
    where: np.ndarray
    targets: np.ndarray
    row: np.ndarray


def scores(
    rows: Sequence[Row], most: int, score: Callable[[Fed], tuple[np.ndarray, np.ndarray]]
) -> list[Score]:
    """The score of each row. `score` gives log p of the targets, (T,) float32 nats, and the likeliest tokens, (T,)
    integer, of rows that feed at most about `most` tokens; sums are float64."""
    found: list[Score] = [(0.0, True)] * len(rows)
    for numbers in _groups(rows, min(most, MOST)):
        fed = _feed([rows[number] for number in numbers])
        logps, best = score(fed)
        sums = np.bincount(fed.row, logps.astype(np.float64), len(numbers))
        wrong = np.bincount(fed.row, best != fed.targets, len(numbers))
        for place, number in enumerate(numbers):
            found[number] = float(sums[place]), not wrong[place]
    return found


def _groups(rows: Sequence[Row], most: int) -> Iterator[list[int]]:
    """Places of rows of similar length, the longest first."""
    group: list[int] = []
    longest = 0
    for number in sorted(range(len(rows)), key=lambda i: -len(rows[i][0]) - len(rows[i][1])):
        if group and (len(group) + 1) * longest > most:
            yield group
            group = []
        if not group:
            longest = padded(len(rows[number][0]) + len(rows[number][1]) - 1)
        group.append(number)
    if group:
        yield group


def _feed(rows: Sequence[Row]) -> Fed:
    fed = [[*prompt, *answer[:-1]] for prompt, answer in rows]
    length = padded(max(map(len, fed)))
    inputs = np.zeros((len(rows), length), np.int32)  # any token: it is never scored, nor seen by what is
    for place, ids in enumerate(fed):
        inputs[place, : len(ids)] = ids
    first = [place * length + len(prompt) - 1 for place, (prompt, _) in enumerate(rows)]
    counts = [len(answer) for _, answer in rows]
    where = np.concatenate([np.arange(start, start + count) for start, count in zip(first, counts, strict=True)])
    targets = np.array([token for _, answer in rows for token in answer], np.int32)
    return Fed(inputs, where.astype(np.int32), targets, np.repeat(np.arange(len(rows)), counts).astype(np.int32))
