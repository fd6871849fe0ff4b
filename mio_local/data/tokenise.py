"""A recipe's pairs, read, split and tokenised."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mio_local.data.encoding import encode
from mio_local.data.examples import CUT_CHOSEN, CUT_REJECTED, Example, Examples, Tokenised
from mio_local.data.pairs import Pairs, Some, held_out_source, load_pairs
from mio_local.data.prose.texts import read_texts
from mio_local.data.reading.wanted import PAIRS, wanted_of
from mio_local.data.stored import cache
from mio_local.data.stored.written import written
from mio_local.data.task_questions import read_tasks
from mio_local.data.template import Chat
from mio_local.data.tokenizer import embedding_rows, load_tokenizer
from mio_local.errors import DataError
from mio_local.progress import Report
from mio_local.recipe import DataSettings, ModelSettings, Recipe


@dataclass(frozen=True)
class Split:
    """Pairs as read, those to train on, those held out, and how many rows of a held-out file were skipped."""

    pairs: Pairs
    train: Some
    held_out: Some
    left_out: int


@dataclass(frozen=True)
class Tokens:
    """The tokenised data of a recipe."""

    chat: Chat
    train: Examples
    held_out: Examples
    counts: Tokenised
    layout: str

    @property
    def inverse_tokens(self) -> float:
        """Mean of 1 / tokens over the chosen answers: what turns a target for sums into one for per-token means."""
        examples = self.held_out or self.train
        if not examples.scored:
            chosen = examples.lengths[:, 1]
            return float((1 / chosen[chosen > 0]).mean()) if chosen.any() else 0.0
        chosen = [count for example in examples if example.chosen and (count := example.scored_tokens[0])]
        return sum(1 / count for count in chosen) / max(1, len(chosen))

    @cached_property
    def digest(self) -> str:
        """A fingerprint of every token: a resumed run must see the same."""
        parts = [[each.key, hashlib.sha256(each.numbers.tobytes()).hexdigest()] for each in (self.train, self.held_out)]
        key = cache.key_of("digest", parts) if self.train.key else ""
        found = cache.kept("digest", key, lambda _: {"digest": self._digest()})
        return found[1]["digest"] if found else self._digest()

    def _digest(self) -> str:
        sha = hashlib.sha256()
        for examples in (self.train, self.held_out):
            for text in written(examples):
                sha.update(text)
        return sha.hexdigest()


def read_split(recipe: Recipe, report: Report) -> Split:
    """The recipe's pairs as read, those to train on, those held out, and how many held-out rows were skipped.

    The files of questions and of plain text are read too, so that a mistake in them is told first. Raises DataError.
    """
    data = recipe.data
    if not data.source:
        raise DataError("no data given; add --data FILE, a folder, or a hub dataset")
    if recipe.eval.tasks:
        read_tasks(recipe.eval.tasks)
    read_texts(recipe.eval.forgetting, "eval.forgetting: ")
    report("reading the pairs", 0, 0)
    wanted = wanted_of(recipe.loss)
    pairs = load_pairs(data.source, data, wanted=wanted)
    held_source, held_split = held_out_source(data)
    if held_source:
        held = load_pairs(held_source, data, split=held_split, wanted=wanted)
        train, held_out, left_out = pairs.all, held.all, sum(held.skipped.values())
    else:
        (train, held_out), left_out = pairs.split(data.eval_fraction, recipe.train.seed), 0
    return Split(pairs, train, held_out.first(recipe.eval.pairs), left_out)


def tokenise(recipe: Recipe, split: Split, chat: Chat, report: Report) -> Tokens:
    """Both parts of the recipe's pairs as tokens. Raises DataError where none is left to train on."""
    data = recipe.data
    whole = encode(split.pairs, chat, data, progress=_progress(report))
    train = whole.of(split.train.numbers)
    other = split.held_out.pairs
    held_out = (whole if other is split.pairs else encode(other, chat, data)).of(split.held_out.numbers)
    if not train.examples:
        raise DataError(f"{data.source}: no pair is left to train on after skipping {len(train.left)}")
    truncated = train.examples.count(CUT_CHOSEN | CUT_REJECTED)
    skipped = sum(split.pairs.skipped.values()) + split.left_out + len(train.left)
    made = Tokenised(len(train.examples), truncated, skipped, train.lost, split.pairs.unused, split.pairs.notes)
    return Tokens(chat, train.examples, held_out.examples, made, split.pairs.layout)


def examples_of(recipe: Recipe, chat: Chat, source: str, report: Report) -> Sequence[Example]:
    """The pairs of another file, folder or hub dataset, read and tokenised as the recipe's; without rewards, which the
    likelihood of an answer does not depend on."""
    report("reading the pairs", 0, 0)
    wanted = wanted_of(recipe.loss)
    pairs = load_pairs(source, recipe.data, wanted=PAIRS if wanted.rewarded else wanted)
    return encode(pairs, chat, recipe.data, progress=_progress(report)).examples


def chat_of(model: ModelSettings, data: DataSettings, place: Path, now: float | None = None) -> Chat:
    """The tokenizer of the model in `place`, with the template of `data` as of `now`, or of today."""
    tokenizer = load_tokenizer(model.model_copy(update={"name": str(place), "revision": ""}))
    return chat_with(tokenizer, data, place, now)


def chat_with(tokenizer: Any, data: DataSettings, place: Path, now: float | None = None) -> Chat:
    """A tokenizer with the template of `data`, for the model in `place`, which need not be on this disk."""
    return Chat(tokenizer, data.template, now, settings=data, rows=embedding_rows(place))


def _progress(report: Report) -> Callable[[int, int], None]:
    return lambda done, total: report("tokenising", done, total)
