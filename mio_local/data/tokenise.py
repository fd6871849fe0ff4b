"""A recipe's pairs, read, split and tokenised."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mio_local.data.examples import Example, Tokenised
from mio_local.data.pairs import Pair, Pairs, load_pairs, split_by_prompt
from mio_local.data.questions import read_tasks
from mio_local.data.template import Chat
from mio_local.data.tokenizer import load_tokenizer
from mio_local.errors import DataError
from mio_local.models.locate import model_folder
from mio_local.progress import Report
from mio_local.recipe import ModelSettings, Recipe

Split = tuple[Pairs, list[Pair], list[Pair], int]


@dataclass(frozen=True)
class Tokens:
    """The tokenised data of a recipe."""

    chat: Chat
    train: list[Example]
    held_out: list[Example]
    counts: Tokenised
    layout: str

    @property
    def inverse_tokens(self) -> float:
        """Mean of 1 / tokens over the chosen answers: what turns a target for sums into one for per-token means."""
        examples = self.held_out or self.train
        return sum(1 / len(example.chosen) for example in examples) / len(examples)

    @property
    def digest(self) -> str:
        """A fingerprint of every token: a resumed run must see the same."""
        sha = hashlib.sha256()
        for example in (*self.train, *self.held_out):
            sha.update(repr((example.prompt, example.chosen, example.rejected)).encode())
        return sha.hexdigest()


def tokenise(recipe: Recipe, report: Report, now: float) -> tuple[Tokens, Path]:
    """Read, split and tokenise the recipe's pairs as of `now`; the model's folder."""
    data = recipe.data
    if not data.source:
        raise DataError("no data given; add --data FILE, a folder, or a hub dataset")
    questions_file = recipe.eval.tasks
    if questions_file:
        read_tasks(questions_file)
    report("reading the pairs", 0, 0)
    split = _split(recipe)
    report("finding the model", 0, 0)
    place = model_folder(recipe.model)
    return _encoded(recipe, chat_of(recipe.model, data.template, place, now), split, report), place


def tokens_of(recipe: Recipe, chat: Chat, report: Report) -> Tokens:
    """As `tokenise`, by a tokenizer that is there already."""
    report("reading the pairs", 0, 0)
    return _encoded(recipe, chat, _split(recipe), report)


def examples_of(recipe: Recipe, chat: Chat, source: str, report: Report) -> list[Example]:
    """The pairs of another file, folder or hub dataset, read and tokenised as the recipe's."""
    report("reading the pairs", 0, 0)
    data = recipe.data
    return chat.encode_all(
        load_pairs(source, data), data.max_tokens, data.long_prompt, data.bad_rows, _progress(report)
    )[0]  # fmt: skip


def chat_of(model: ModelSettings, template: str, place: Path, now: float | None = None) -> Chat:
    """The tokenizer of the model in `place`, with a template as of `now`, or of today."""
    return Chat(load_tokenizer(model.model_copy(update={"name": str(place), "revision": ""})), template, now)


def _progress(report: Report) -> Callable[[int, int], None]:
    return lambda done, total: report("tokenising", done, total)


def _encoded(recipe: Recipe, chat: Chat, split: Split, report: Report) -> Tokens:
    data, (pairs, train, held_out, left_out) = recipe.data, split
    examples, counts = chat.encode_all(train, data.max_tokens, data.long_prompt, data.bad_rows, _progress(report))
    held_examples, _ = chat.encode_all(held_out, data.max_tokens, data.long_prompt, data.bad_rows)
    if not examples:
        raise DataError(f"{data.source}: no pair is left to train on after skipping {sum(counts.skipped.values())}")
    truncated = sum(example.truncated_chosen or example.truncated_rejected for example in examples)
    skipped = sum(pairs.skipped.values()) + left_out + sum(counts.skipped.values())
    return Tokens(chat, examples, held_examples, Tokenised(len(examples), truncated, skipped), pairs.layout)


def _split(recipe: Recipe) -> Split:
    """The recipe's pairs as read, those to train on, those held out, and how many held-out rows were skipped."""
    data = recipe.data
    pairs = load_pairs(data.source, data)
    if data.eval_source:
        held = load_pairs(data.eval_source, data, split=data.eval_split or data.split)
        train, held_out, left_out = list(pairs), list(held), sum(held.skipped.values())
    else:
        (train, held_out), left_out = split_by_prompt(pairs, data.eval_fraction, recipe.train.seed), 0
    return pairs, train, held_out[: recipe.eval.pairs or None], left_out
