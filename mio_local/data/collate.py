"""Tokenised pairs to padded arrays, and the order they are seen in. What is scored is decided here, nowhere else."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mio_local.arrays import padded
from mio_local.data.examples import Example, by_length, lengths_of

ORDER = "length of the whole pair"  # what `Order.of` sorts by; a run goes on in the order that it began with
WINDOW = 32  # steps whose pairs are sorted by length together: little padding, and still a shuffled order


@dataclass(frozen=True)
class Spans:
    """Where the parts of the rows [prompt | chosen | rejected] end, (n,) int32 each: a row sees its own prompt, and an
    answer sees itself, not the other one. An answer's last token predicts nothing, so it is left out."""

    prompt: np.ndarray
    chosen: np.ndarray
    rejected: np.ndarray

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three, in the order of the row."""
        return self.prompt, self.chosen, self.rejected

    def places(self, length: int) -> np.ndarray:
        """Position of each token in its own sequence, (n, length) int32: both answers follow the prompt. Padding has
        its row's last one, as some rotary embeddings go by the largest."""
        column = np.minimum(np.arange(length, dtype=np.int32)[None], self.rejected[:, None] - 1)
        back = (self.chosen - self.prompt)[:, None]  # rejected answers begin again where the prompt ended
        return np.where(column >= self.chosen[:, None], column - back, column)

    def visible(self, length: int, window: int = 0) -> np.ndarray:
        """Which token sees which, (n, length, length) bool; `window` > 0 is how many positions back a token sees."""
        column = np.arange(length)
        causal = column[:, None] >= column[None]
        in_rejected = column[None] >= self.chosen[:, None]
        in_chosen = ~in_rejected & (column[None] >= self.prompt[:, None])
        seen = causal & ~(in_rejected[:, :, None] & in_chosen[:, None, :])
        if window:
            places = self.places(length)
            seen &= places[:, :, None] - places[:, None, :] < window
        return seen

    def rows(self, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The 2n rows [prompt | answer], chosen first, as indices into the n * `length` tokens of the shared rows, and
        back: (2n, m), (n, length) and (n, length) int64.

        The first is filled up with a token of the row, by one column at least. The second tells where in the 2n * m
        a shared token is, a prompt's in its chosen row; the third where a prompt's token is again, in its rejected row.
        What is not there points to a filled column.
        """
        n = len(self.prompt)
        prompt, chosen, end = self.prompt[:, None], self.chosen[:, None], self.rejected[:, None]
        shift = chosen - prompt
        width = 1 + int(max(self.chosen.max(), (end - shift).max()))
        fed, column = np.arange(n)[:, None] * length, np.arange(width)[None]
        first = fed + np.minimum(column, chosen - 1)
        second = fed + np.minimum(np.where(column < prompt, column, column + shift), end - 1)
        pair, place = np.arange(n)[:, None] * width, np.arange(length)[None]
        filled = pair + width - 1
        answer = n * width + pair + place - shift
        own = np.where(place < chosen, pair + place, np.where(place < end, answer, filled))
        return np.concatenate([first, second]), own, np.where(place < prompt, n * width + pair + place, filled)


@dataclass(frozen=True)
class Batch:
    """n pairs: 2n rows [prompt | answer], the chosen answers first, or n rows [prompt | chosen | rejected].

    inputs (rows, L) int32: the tokens fed, padded on the right. spans: the parts of the n rows, None for 2n rows.
    where (T,) int32: the position, in the flattened inputs, that predicts each scored token; those of the chosen
    answers first, each position once among them, and once among those of the rejected ones.
    targets (T,) int32: the scored tokens. mask (2n, T) float32: 1 where that token belongs to that answer.
    tokens (2n,) float32: scored tokens per answer. pairs: the n indices into the dataset. real_tokens: tokens of all
    prompts and answers, a prompt counted twice.
    """

    inputs: np.ndarray
    spans: Spans | None
    where: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    tokens: np.ndarray
    pairs: tuple[int, ...]
    real_tokens: int

    @property
    def size(self) -> int:
        """Pairs in the batch."""
        return len(self.pairs)

    def split(self, most: int) -> list["Batch"]:
        """The batch as smaller ones of neighbouring pairs that feed about `most` tokens, padding included, each no
        longer than it needs to be."""
        size = max(1, self.size * most // self.inputs.size)
        if size >= self.size:
            return [self]
        return [self._some(range(first, min(first + size, self.size))) for first in range(0, self.size, size)]

    def _some(self, pairs: range) -> "Batch":
        one, length = slice(pairs.start, pairs.stop), self.inputs.shape[1]
        answers = [*pairs, *(self.size + i for i in pairs)]
        rows = list(pairs) if self.spans else answers
        spans = Spans(*(ends[one] for ends in self.spans.ends)) if self.spans else None
        scored = self.mask[answers].any(0)
        row, column = np.divmod(self.where[scored], length)
        longest = min(padded(int(spans.rejected.max() if spans else column.max() + 1)), length)
        where = np.searchsorted(rows, row) * longest + column
        return Batch(
            self.inputs[rows, :longest], spans, where.astype(np.int32), self.targets[scored],
            self.mask[answers][:, scored], self.tokens[answers], self.pairs[one], 0,
        )  # fmt: skip


def joined(logps: Sequence[np.ndarray]) -> np.ndarray:
    """Log-probs of a batch's parts, (2m,) each, in the order of the whole, chosen first: (2n,)."""
    return np.concatenate([part.reshape(2, -1) for part in logps], axis=1).ravel()


def collate(examples: Sequence[Example], pairs: Sequence[int], pad: int, *, shared: bool = False) -> Batch:
    """The batch of `pairs`; `shared` feeds each prompt once. `pad` is any valid token id: it is never scored, and
    causal attention never lets an answer see it."""
    found = [examples[i] for i in pairs]
    if shared:
        rows = [[*e.prompt, *e.chosen[:-1], *e.rejected[:-1]] for e in found]
    else:
        rows = [[*e.prompt, *e.chosen[:-1]] for e in found] + [[*e.prompt, *e.rejected[:-1]] for e in found]
    length = padded(max(len(row) for row in rows))
    inputs = np.full((len(rows), length), pad, np.int32)
    for row, ids in enumerate(rows):
        inputs[row, : len(ids)] = ids
    mask = np.zeros((2 * len(found), sum(sum(e.scored_tokens) for e in found)), np.float32)
    where: list[int] = []
    targets: list[int] = []
    for row in range(2 * len(found)):
        example = found[row % len(found)]
        fed = (row % len(found) if shared else row) * length
        rejected = row >= len(found)
        places, tokens = _predicted(example, rejected, len(example.chosen) - 1 if shared and rejected else 0)
        mask[row, len(where) : len(where) + len(places)] = 1.0
        where += [fed + place for place in places]
        targets += tokens
    real = sum(2 * len(e.prompt) + len(e.chosen) + len(e.rejected) for e in found)
    spans = _spans(found) if shared else None
    return Batch(
        inputs, spans, np.array(where, np.int32), np.array(targets, np.int32), mask, mask.sum(-1), tuple(pairs), real
    )


def _predicted(example: Example, rejected: bool, gap: int) -> tuple[list[int], list[int]]:
    """(places in the row that predict a scored token of one answer, those tokens); `gap` tokens stand between the
    prompt and the answer. The prompt's last place predicts an answer's first token, and each of its tokens the next."""
    prompt, answer = len(example.prompt), example.rejected if rejected else example.chosen
    before = [prompt - 1, *range(prompt + gap, prompt + gap + len(answer) - 1)]
    if example.scored is None:
        return before, answer
    asked = [place for start, stop in example.scored[0] for place in range(max(start, 1), stop)]
    said = [place for start, stop in example.scored[2 if rejected else 1] for place in range(start, stop)]
    places = [place - 1 for place in asked] + [before[place] for place in said]
    return places, [example.prompt[place] for place in asked] + [answer[place] for place in said]


def in_batches(examples: Sequence[Example], size: int, pad: int, *, shared: bool = False) -> list[Batch]:
    """All pairs in batches of `size` of similar length, the same ones each time."""
    near = by_length(examples)
    return [collate(examples, near[i : i + size], pad, shared=shared) for i in range(0, len(near), size)]


def _spans(examples: Sequence[Example]) -> Spans:
    lengths = np.array([(len(e.prompt), len(e.chosen) - 1, len(e.rejected) - 1) for e in examples], np.int32)
    return Spans(*np.cumsum(lengths, axis=1, dtype=np.int32).T)


class Order:
    """Which pairs make up step k: a pure function of (lengths, sizes, seed, k), so a resumed run sees the same ones.

    Each epoch visits every pair once. Pairs are shuffled, sorted by length within windows of WINDOW steps, cut into
    steps of batch_size * accumulate pairs, and the steps are shuffled. A step's pairs do not depend on how it is split
    into forward passes, so accumulation equals the larger batch.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, accumulate: int, seed: int) -> None:
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.group = batch_size * accumulate
        self.seed = seed
        self.steps_per_epoch = math.ceil(len(self.lengths) / self.group)
        self._epoch = -1
        self._steps: list[list[int]] = []

    @classmethod
    def of(cls, examples: Sequence[Example], batch_size: int, accumulate: int, seed: int) -> "Order":
        """By the length of the rows that are fed where the prompt is shared: else padding would be twice as much."""
        return cls(lengths_of(examples).sum(1).tolist(), batch_size, accumulate, seed)

    def step(self, k: int) -> list[list[int]]:
        """The forward passes of step k (from 0): lists of at most batch_size pair indices."""
        epoch, position = divmod(k, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._steps = epoch, self._shuffled(epoch)
        pairs = self._steps[position]
        return [pairs[i : i + self.batch_size] for i in range(0, len(pairs), self.batch_size)]

    def _shuffled(self, epoch: int) -> list[list[int]]:
        rng = random.Random(f"{self.seed}/{epoch}")
        order = list(range(len(self.lengths)))
        rng.shuffle(order)
        window = self.group * WINDOW
        steps: list[list[int]] = []
        for start in range(0, len(order), window):
            near = sorted(order[start : start + window], key=lambda i: self.lengths[i])
            steps += [near[i : i + self.group] for i in range(0, len(near), self.group)]
        rng.shuffle(steps)
        return steps
