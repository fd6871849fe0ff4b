"""A recipe's pairs, read, split and tokenised."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mio_local.data.examples import Example, Tokenised
from mio_local.data.pairs import Pair, Pairs, held_out_source, load_pairs, split_by_prompt
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
    train: Sequence[Pair]
    held_out: Sequence[Pair]
    left_out: int


@dataclass(frozen=True)
class Tokens:
    """The tokenised data of a recipe."""

    chat: Chat
    train: Sequence[Example]
    held_out: Sequence[Example]
    counts: Tokenised
    layout: str

    @property
    def inverse_tokens(self) -> float:
        """Mean of 1 / tokens over the chosen answers: what turns a target for sums into one for per-token means."""
        examples = self.held_out or self.train
        return sum(1 / example.scored_tokens[0] for example in examples) / len(examples)

    @property
    def digest(self) -> str:
        """A fingerprint of every token: a resumed run must see the same."""
        sha = hashlib.sha256()
        for example in (*self.train, *self.held_out):
            sha.update(repr((example.prompt, example.chosen, example.rejected)).encode())
            if example.scored:
                sha.update(repr(example.scored).encode())
        return sha.hexdigest()


def read_split(recipe: Recipe, report: Report) -> Split:
    """The recipe's pairs as read, those to train on, those held out, and how many held-out rows were skipped.

    The file of questions is read too, so that a mistake in it is told first. Raises DataError.
    """
    data = recipe.data
    if not data.source:
        raise DataError("no data given; add --data FILE, a folder, or a hub dataset")
    if recipe.eval.tasks:
        read_tasks(recipe.eval.tasks)
    report("reading the pairs", 0, 0)
    pairs = load_pairs(data.source, data)
    held_source, held_split = held_out_source(data)
    if held_source:
        held = load_pairs(held_source, data, split=held_split)
        train, held_out, left_out = pairs, held, sum(held.skipped.values())
    else:
        (train, held_out), left_out = split_by_prompt(pairs, data.eval_fraction, recipe.train.seed), 0
    return Split(pairs, train, held_out[: recipe.eval.pairs or None], left_out)


def tokenise(recipe: Recipe, split: Split, chat: Chat, report: Report) -> Tokens:
    """Both parts of the recipe's pairs as tokens. Raises DataError where none is left to train on."""
    data = recipe.data
    examples, counts = chat.encode_all(split.train, data.max_tokens, data.long_prompt, data.bad_rows, _progress(report))
    held_examples, _ = chat.encode_all(split.held_out, data.max_tokens, data.long_prompt, data.bad_rows)
    if not examples:
        raise DataError(f"{data.source}: no pair is left to train on after skipping {sum(counts.skipped.values())}")
    truncated = sum(example.truncated_chosen or example.truncated_rejected for example in examples)
    skipped = sum(split.pairs.skipped.values()) + split.left_out + sum(counts.skipped.values())
    made = Tokenised(len(examples), truncated, skipped, counts.lost)
    return Tokens(chat, examples, held_examples, made, split.pairs.layout)


def examples_of(recipe: Recipe, chat: Chat, source: str, report: Report) -> Sequence[Example]:
    """The pairs of another file, folder or hub dataset, read and tokenised as the recipe's."""
    report("reading the pairs", 0, 0)
    data = recipe.data
    return chat.encode_all(
        load_pairs(source, data), data.max_tokens, data.long_prompt, data.bad_rows, _progress(report)
    )[0]  # fmt: skip


def chat_of(model: ModelSettings, data: DataSettings, place: Path, now: float | None = None) -> Chat:
    """The tokenizer of the model in `place`, with the template of `data` as of `now`, or of today."""
    tokenizer = load_tokenizer(model.model_copy(update={"name": str(place), "revision": ""}))
    return Chat(tokenizer, data.template, now, settings=data, rows=embedding_rows(place))


def _progress(report: Report) -> Callable[[int, int], None]:
    return lambda done, total: report("tokenising", done, total)
