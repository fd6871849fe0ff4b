"""Plain text scored: does the model still write as well as before, or only answer the pairs?"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mio_local.backends import Model
from mio_local.data.loglikelihood import Row
from mio_local.data.prose.texts import read_texts, text_rows
from mio_local.objectives.intervals import ratio_error
from mio_local.runs.events import Event
from mio_local.training.job import Job

TOGETHER = 8  # texts between two reports


def negative_logps(model: Model, texts: Sequence[Sequence[Row]], *, reference: bool) -> Iterator[list[float]]:
    """-log p of each text, nats, each of its rows given its first token; TOGETHER at a time."""
    for first in range(0, len(texts), TOGETHER):
        some = texts[first : first + TOGETHER]
        scores = iter(model.score([row for rows in some for row in rows], reference=reference))
        yield [-math.fsum(next(scores)[0] for _ in rows) for rows in some]


@dataclass(frozen=True)
class Perplexity:
    """Plain text under the base and the policy: `base` and `policy` are -log p of each text, nats. The perplexity is
    that of all tokens together, exp(sum of nats / sum of tokens)."""

    texts: Sequence[Sequence[Row]]
    base: Sequence[float]
    policy: Sequence[float]

    @property
    def tokens(self) -> np.ndarray:
        """How many of each text are scored, (n,)."""
        return np.array([sum(len(answer) for _, answer in rows) for rows in self.texts], np.float64)

    @property
    def rise(self) -> np.ndarray:
        """By how much each text's nats rose, (n,)."""
        return np.array(self.policy) - np.array(self.base)

    @property
    def change(self) -> float:
        """The change of the perplexity's log, nats a token."""
        return float(self.rise.sum() / self.tokens.sum())

    @property
    def stderr(self) -> float:
        """The standard error of `change` over the texts; NaN for a single one."""
        return ratio_error(self.rise, self.tokens)

    @property
    def values(self) -> dict[str, Any]:
        """What a `text` event holds."""
        return {
            "perplexity": self.of(self.policy), "base": self.of(self.base), "change": self.change,
            "change_stderr": self.stderr, "texts": len(self.texts), "tokens": int(self.tokens.sum()),
        }  # fmt: skip

    def of(self, side: Sequence[float]) -> float:
        """The perplexity under one of the two; infinite where it is too large for a float."""
        with np.errstate(over="ignore"):
            return float(np.exp(math.fsum(side) / self.tokens.sum()))


class TextScorer:
    """Scores the text that the recipe names, if it does, under the policy; under the reference once a session."""

    def __init__(self, job: Job) -> None:
        self.job = job
        texts = read_texts(job.recipe.eval.forgetting, "eval.forgetting: ")
        self.texts = text_rows(texts, job.chat.tokenizer, job.recipe.data.max_tokens)
        self.base: list[float] = []

    def events(self, step: int, on_the_way: Callable[[str, int, int], Event]) -> Iterator[Event]:
        """A `text` event, where there is text, and what `on_the_way` makes of the progress before it."""
        if not self.texts:
            return
        sides: dict[bool, list[float]] = {True: self.base, False: []}
        for reference, found in sides.items():
            if len(found) < len(self.texts):
                for some in negative_logps(self.job.model, self.texts, reference=reference):
                    found += some
                    yield on_the_way("scoring plain text", len(found), len(self.texts))
        yield Event("text", step, Perplexity(self.texts, self.base, sides[False]).values)
