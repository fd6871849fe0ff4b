"""The prompts of a run of rounds: which are trained on and which are held out, which a round takes, and what stands for
them before any answer is drawn."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from mio_local.data.encoding import encode
from mio_local.data.examples import Example, Examples, Tokenised
from mio_local.data.pairs import load_pairs
from mio_local.data.stored.collected import Collected
from mio_local.data.template import Chat
from mio_local.data.tokenise import Tokens
from mio_local.making.answered import Asked
from mio_local.making.judging.choose import check_known
from mio_local.making.prompts import Prompts, askable, prompt_ids, read_prompts
from mio_local.objectives.losses import LOSSES
from mio_local.objectives.schedule import total_steps
from mio_local.recipe import Recipe

LAYOUT = "rounds"  # the layout's name, of pairs that are made


class RunPrompts(NamedTuple):
    """Prompts to train on, and those held out; how many were skipped, and what is to be told of all."""

    train: Sequence[Asked]
    held_out: Sequence[Asked]
    skipped: int
    told: list[str]


def given_prompts(recipe: Recipe) -> list[Prompts]:
    """The recipe's prompts, then those of its held-out pairs where it names some. Raises DataError, HubError."""
    data = recipe.data
    given = [read_prompts(recipe.make.prompts or data.source, data, recipe.make.limit)]
    check_known(given[0], recipe.make)
    return [*given, read_prompts(data.eval_source, data, recipe.eval.pairs)] if data.eval_source else given


def split_prompts(recipe: Recipe, chat: Chat, given: Sequence[Prompts] = ()) -> RunPrompts:
    """The recipe's prompts as they are asked, the held-out ones by its fraction and seed, or those of its held-out
    pairs; `given` are those that were read. Raises DataError, HubError."""
    read = [askable(each, chat, recipe.make.answer_tokens) for each in given or given_prompts(recipe)]
    skipped = sum(sum(each.skipped.values()) for each in read)
    told = [*read[0].told(), *(f"held out: {line}" for each in read[1:] for line in each.told())]
    found = read[0].asked
    if len(read) > 1:
        return RunPrompts(found, read[1].asked, skipped, told)
    order = list(range(len(found)))
    random.Random(f"prompts/{recipe.train.seed}").shuffle(order)
    size = round(recipe.data.eval_fraction * len(found))
    size = min(max(size, int(recipe.data.eval_fraction > 0)), len(found) - 1, recipe.eval.pairs or len(found))
    held = sorted(order[:size])
    return RunPrompts([found[i] for i in sorted(order[size:])], [found[i] for i in held], skipped, told)


def of_round(prompts: Sequence[Asked], number: int, size: int, seed: int) -> list[Asked]:
    """The prompts of round `number` (from 0): pass after pass over all, each shuffled anew; a pure function."""
    first, last, count = number * size, (number + 1) * size, len(prompts)
    passes = range(first // count, (last - 1) // count + 1)
    ahead = [place for a_pass in passes for place in _shuffled(count, f"round/{seed}/{a_pass}")]
    start = first - passes.start * count
    return [prompts[place] for place in ahead[start : start + size]]


def round_size(recipe: Recipe, prompts: int) -> int:
    """Prompts of a round, of so many in all: those that a step takes where every answer is to be of the policy of now,
    else all."""
    train = recipe.train
    on_policy = LOSSES[recipe.loss.name].needs == "samples"
    return recipe.make.per_round or (train.step_pairs if on_policy else prompts)


def most_steps(recipe: Recipe, prompts: int) -> int:
    """Steps that a round may take, where each of its prompts makes an example."""
    return total_steps(recipe.train, round_size(recipe, prompts))


def stand_ins(recipe: Recipe, chat: Chat, prompts: Sequence[Asked]) -> Examples:
    """Each prompt with as many answers of the longest size as a step may take, for the run's digest, its rehearsal and
    the comparison with the plain path."""
    made = Collected(chat.end_ids)
    samples = LOSSES[recipe.loss.name].needs == "samples"
    others = recipe.make.answers - 2 if samples else recipe.loss.negatives - 1
    for number, asked in enumerate(prompts):
        ids = prompt_ids(chat, asked)
        size = min(recipe.data.max_tokens - len(ids), recipe.make.answer_tokens)
        filled = [ids[place % len(ids)] for place in range(size)]
        rewards = tuple(map(float, range(2 + others)))
        more = (filled,) * others
        made.add(Example(ids, filled, filled[::-1], False, False, False, asked.where, None, more, rewards), number)
    return made.examples(lambda number: prompts[number].where)


def stand_in_tokens(recipe: Recipe, chat: Chat, prompts: RunPrompts) -> Tokens:
    """What a run of rounds has in the place of its pairs until they are made; held-out pairs that are given are there.
    Raises DataError, HubError."""
    train, data = stand_ins(recipe, chat, prompts.train), recipe.data
    if data.eval_source:
        pairs = load_pairs(data.eval_source, data, split=data.eval_split or data.split)
        held_out = encode(pairs, chat, data).of(pairs.all.first(recipe.eval.pairs).numbers).examples
    else:
        held_out = stand_ins(recipe, chat, prompts.held_out)
    counts = Tokenised(len(train), 0, prompts.skipped, notes=prompts.told)
    return Tokens(chat, train, held_out, counts, LAYOUT)


def _shuffled(count: int, seed: str) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order
