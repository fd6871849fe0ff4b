"""Tokenised pairs to padded arrays. What is scored is decided here, nowhere else."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mio_local.arrays import padded
from mio_local.data.examples import Example


@dataclass(frozen=True)
class Spans:
    """Where the parts of the rows [prompt | chosen | rejected | others] end: `ends` (1 + A, n) int32, the prompt's
    first. A row sees its own prompt, and an answer sees itself, not another one. An answer's last token predicts
    nothing, so it is left out; an answer that is absent is as one of a single token."""

    ends: np.ndarray

    @property
    def prompt(self) -> np.ndarray:
        """Tokens of the prompts, (n,)."""
        return self.ends[0]

    @property
    def whole(self) -> np.ndarray:
        """Tokens of the rows, (n,)."""
        return self.ends[-1]

    @property
    def answers(self) -> int:
        """A, of each row."""
        return len(self.ends) - 1

    def _part(self, column: np.ndarray) -> np.ndarray:
        """What lies in each column, (n, length): 0 the prompt, 1 the chosen answer, and so on; A also of padding."""
        return (column[None] >= self.ends[:-1, :, None]).sum(0)

    def _shifts(self) -> np.ndarray:
        """How far each part stands behind where it would follow its prompt, (1 + A, n)."""
        return np.concatenate([np.zeros_like(self.ends[:1]), self.ends[:-1] - self.prompt])

    def places(self, length: int) -> np.ndarray:
        """Position of each token in its own sequence, (n, length) int32: every answer follows the prompt. Padding has
        its row's last one, as some rotary embeddings go by the largest."""
        column = np.minimum(np.arange(length, dtype=np.int32)[None], self.whole[:, None] - 1)
        return column - np.take_along_axis(self._shifts().T, self._part(column), 1)

    def visible(self, length: int, window: int = 0) -> np.ndarray:
        """Which token sees which, (n, length, length) bool; `window` > 0 is how many positions back a token sees."""
        column = np.arange(length)
        part = self._part(column[None])
        seen = column[:, None] >= column[None]
        seen = seen & ((part[:, None] == 0) | (part[:, None] == part[:, :, None]))
        if window:
            places = self.places(length)
            seen &= places[:, :, None] - places[:, None, :] < window
        return seen

    def rows(self, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The A * n rows [prompt | answer], answer by answer, as indices into the n * `length` tokens of the shared
        rows, and back: (A * n, m), (n, length) and (A - 1, n, length) int64.

        The first is filled up with a token of the row, by one column at least. The second tells where in the A * n * m
        a shared token is, a prompt's in its chosen row; the third where a prompt's token is again, in its other rows.
        What is not there points to a filled column.
        """
        n, answers = len(self.prompt), range(self.answers)
        prompt, ends, shifts = self.prompt[:, None], self.ends[1:, :, None], self._shifts()[1:, :, None]
        width = 1 + int((ends - shifts).max())
        fed, column = np.arange(n)[:, None] * length, np.arange(width)[None]
        index = [fed + np.minimum(np.where(column < prompt, column, column + shifts[a]), ends[a] - 1) for a in answers]
        group, place = np.arange(n)[:, None] * width, np.arange(length)[None]
        filled, part = group + width - 1, self._part(place)
        own = np.where(part == 0, group + place, filled)
        for a in answers:
            here = (part == a + 1) & (place < ends[a])
            own = np.where(here, a * n * width + group + place - shifts[a], own)
        again = [np.where(place < prompt, a * n * width + group + place, filled) for a in answers[1:]]
        return np.concatenate(index), own, np.array(again, np.int64).reshape(len(again), n, length)


@dataclass(frozen=True)
class Batch:
    """n groups of A answers, 2 for pairs: A * n rows [prompt | answer], all the chosen ones, then all the rejected,
    then the others in turn; or n rows [prompt | chosen | rejected | others]. A group with fewer has absent ones,
    without a scored token, whose row is the prompt.

    inputs (rows, L) int32: the tokens fed, padded on the right. spans: the parts of the n rows, None for A * n rows.
    where (T,) int32: the position, in the flattened inputs, that predicts each scored token; those of the chosen
    answers first, then of the others in turn, each position once among the answers of one place in their groups.
    targets (T,) int32: the scored tokens. mask (A * n, T) float32: 1 where that token belongs to that answer.
    tokens (A * n,) float32: scored tokens per answer, 0 of an absent one. pairs: the n indices into the dataset.
    real_tokens: tokens of all prompts and answers, a prompt counted once for each of its answers. rewards (A, n)
    float32, 0 of an absent answer; None where a group has none.
    """

    inputs: np.ndarray
    spans: Spans | None
    where: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    tokens: np.ndarray
    pairs: tuple[int, ...]
    real_tokens: int
    rewards: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Groups in the batch."""
        return len(self.pairs)

    @property
    def answers(self) -> int:
        """A, absent ones included."""
        return len(self.tokens) // self.size

    def split(self, most: int) -> list["Batch"]:
        """The batch as smaller ones of neighbouring groups that feed about `most` tokens, padding included, each no
        longer than it needs to be."""
        size = max(1, self.size * most // self.inputs.size)
        if size >= self.size:
            return [self]
        return [self.some(range(first, min(first + size, self.size))) for first in range(0, self.size, size)]

    def lengths(self) -> np.ndarray:
        """Tokens fed of each row that anything is predicted from, (rows,)."""
        row, column = np.divmod(self.where, self.inputs.shape[1])
        found = np.zeros(len(self.inputs), np.int64)
        np.maximum.at(found, row, column + 1)
        return found

    def seeds(self, seed: int, step: int) -> list[tuple[int, int]]:
        """(seed of its dropout, tokens fed) of each row, in the step of that number: a pair drops the same however it
        is batched, and on whichever of several ranks."""
        return [
            (seed_of(seed, step, self.pairs[row % self.size], row // self.size), length)
            for row, length in enumerate(self.lengths().tolist())
        ]

    def some(self, pairs: range) -> "Batch":
        """The batch of some neighbouring groups, no longer than it needs to be."""
        one, length = slice(pairs.start, pairs.stop), self.inputs.shape[1]
        answers = [answer * self.size + i for answer in range(self.answers) for i in pairs]
        rows = list(pairs) if self.spans else answers
        spans = Spans(self.spans.ends[:, one]) if self.spans else None
        scored = self.mask[answers].any(0)
        row, column = np.divmod(self.where[scored], length)
        longest = min(padded(int(spans.whole.max() if spans else column.max() + 1)), length)
        where = np.searchsorted(rows, row) * longest + column
        return Batch(
            self.inputs[rows, :longest], spans, where.astype(np.int32), self.targets[scored],
            self.mask[answers][:, scored], self.tokens[answers], self.pairs[one], 0,
            None if self.rewards is None else self.rewards[:, one],
        )  # fmt: skip


def seed_of(*parts: object) -> int:
    """A number below 2^63 that stands for these."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def joined(logps: Sequence[np.ndarray], answers: int) -> np.ndarray:
    """Log-probs of a batch's parts, (A * m,) each, in the order of the whole, answer by answer: (A * n,)."""
    return np.concatenate([part.reshape(answers, -1) for part in logps], axis=1).ravel()


def collate(examples: Sequence[Example], pairs: Sequence[int], pad: int, *, shared: bool = False) -> Batch:
    """The batch of `pairs`; `shared` feeds each prompt once. `pad` is any valid token id: it is never scored, and
    causal attention never lets an answer see it."""
    found = [examples[i] for i in pairs]
    most, n = max(len(e.answers) for e in found), len(found)
    answers = [(*e.answers, *[[]] * (most - len(e.answers))) for e in found]  # the absent ones are empty
    spans = _spans(found, answers)
    if shared:
        rows = [[*e.prompt, *(id for own in group for id in own[:-1])] for e, group in zip(found, answers, strict=True)]
    else:
        rows = [[*e.prompt, *group[a][:-1]] for a in range(most) for e, group in zip(found, answers, strict=True)]
    length = padded(max(len(row) for row in rows))
    inputs = np.full((len(rows), length), pad, np.int32)
    for row, ids in enumerate(rows):
        inputs[row, : len(ids)] = ids
    mask = np.zeros((most * n, sum(sum(e.scored_tokens) for e in found)), np.float32)
    where: list[int] = []
    targets: list[int] = []
    for row in range(most * n):
        answer, group = divmod(row, n)
        if not answers[group][answer]:
            continue
        fed = (group if shared else row) * length
        gap = int(spans.ends[answer, group] - spans.prompt[group]) if shared else 0
        places, tokens = _predicted(found[group], answer, gap)
        mask[row, len(where) : len(where) + len(places)] = 1.0
        where += [fed + place for place in places]
        targets += tokens
    real = sum(len(e.prompt) + len(answer) for e in found for answer in e.answers if answer)
    return Batch(
        inputs, spans if shared else None, np.array(where, np.int32), np.array(targets, np.int32), mask, mask.sum(-1),
        tuple(pairs), real, _rewards(found, most),
    )  # fmt: skip


def _predicted(example: Example, answer: int, gap: int) -> tuple[list[int], list[int]]:
    """(places in the row that predict a scored token of one answer, those tokens); `gap` tokens stand between the
    prompt and the answer. The prompt's last place predicts an answer's first token, and each of its tokens the next."""
    prompt, ids = len(example.prompt), example.answers[answer]
    before = [prompt - 1, *range(prompt + gap, prompt + gap + len(ids) - 1)]
    if example.scored is None:
        return before, ids
    asked = [place for start, stop in example.scored[0] for place in range(max(start, 1), stop)]
    said = [place for start, stop in example.scored[1 + answer] for place in range(start, stop)]
    places = [place - 1 for place in asked] + [before[place] for place in said]
    return places, [example.prompt[place] for place in asked] + [ids[place] for place in said]


def _spans(examples: Sequence[Example], answers: Sequence[Sequence[list[int]]]) -> Spans:
    lengths = [
        [len(e.prompt), *(max(len(answer) - 1, 0) for answer in group)]
        for e, group in zip(examples, answers, strict=True)
    ]
    return Spans(np.cumsum(np.array(lengths, np.int32), axis=1, dtype=np.int32).T)


def _rewards(examples: Sequence[Example], most: int) -> np.ndarray | None:
    """(most, n) float32, where every example has them."""
    if not all(e.rewards for e in examples):
        return None
    found = np.zeros((most, len(examples)), np.float32)
    for group, example in enumerate(examples):
        found[: len(example.rewards), group] = example.rewards
    return found
