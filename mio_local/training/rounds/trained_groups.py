"""From answers that were drawn and judged to the examples that the steps of a round take, by their own tokens."""

import hashlib
from collections.abc import Sequence

import numpy as np

from mio_local.data.examples import Example
from mio_local.data.messages import Answer
from mio_local.data.stored.preference_pair import Pair
from mio_local.data.template import Chat
from mio_local.making.make import Made
from mio_local.making.prompts import prompt_ids
from mio_local.objectives.losses import LOSSES
from mio_local.recipe import Recipe


def examples_of(recipe: Recipe, chat: Chat, made: Sequence[Made], threshold: float | None) -> list[Example]:
    """The examples of a round in the order of its prompts, as the objective needs them: pairs, with up to
    `loss.negatives` rejected answers; all samples of a prompt; or answers, good from `threshold` on, else bad."""
    needs = LOSSES[recipe.loss.name].needs
    found: list[Example] = []
    for each in made:
        if needs == "samples":
            found += _samples(recipe, chat, each)
        elif needs == "labels":
            found += _labels(recipe, chat, each, threshold)
        else:
            found += _pairs(recipe, chat, each)
    return found


def digest_of(examples: Sequence[Example]) -> str:
    """64 hex digits that stand for the tokens and rewards of examples."""
    sha = hashlib.sha256()
    for each in examples:
        sha.update(repr((each.prompt, each.answers, each.rewards)).encode())
    return sha.hexdigest()


def _samples(recipe: Recipe, chat: Chat, made: Made) -> list[Example]:
    """The prompt's answers that have a reward, the best first; none where that is fewer than two."""
    known = _rewarded(made)
    if len(known) < 2:
        return []
    first, second, *others = ([made.ids[at] for at in known])
    return [_example(recipe, chat, made, first, second, others, [made.rewards[at] or 0.0 for at in known])]


def _labels(recipe: Recipe, chat: Chat, made: Made, threshold: float | None) -> list[Example]:
    """Each answer that ended and has a reward, by itself: good from `threshold` on, or above the mean of the prompt."""
    known = [at for at in _rewarded(made) if not made.answered.cut[at]]
    rewards = [made.rewards[at] or 0.0 for at in known]
    bound = threshold if threshold is not None else float(np.mean(rewards)) if rewards else 0.0
    return [
        _example(recipe, chat, made, made.ids[at] if reward >= bound else [], [] if reward >= bound else made.ids[at])
        for at, reward in zip(known, rewards, strict=True)
    ]


def _pairs(recipe: Recipe, chat: Chat, made: Made) -> list[Example]:
    texts = made.answered.answers
    found: list[Example] = []
    for pair in made.pairs:
        rejected = [pair.rejected, *_more(recipe, made, pair.chosen, pair.rejected)]
        if all(isinstance(one, str) and one in texts for one in (pair.chosen, *rejected)):
            places = [texts.index(str(one)) for one in (pair.chosen, *rejected)]
            rewards = [value for at in places if (value := made.rewards[at]) is not None]
            ids = [made.ids[at] for at in places]
            whole = rewards if len(rewards) == len(places) else []
            found.append(_example(recipe, chat, made, ids[0], ids[1], ids[2:], whole))
        else:  # a known answer is tokenised as data is
            asked = made.answered.asked
            for one in rejected[:1]:
                known = Pair(asked.prompt, pair.chosen, one, asked.where, asked.tools)
                found.append(chat.encode(known, recipe.data.max_tokens, "cut"))
    return found


def _more(recipe: Recipe, made: Made, chosen: Answer, rejected: Answer) -> list[str]:
    """Further rejected answers of a group: the worse ones, the worst first, each text once."""
    texts = made.answered.answers
    if recipe.loss.negatives == 1 or chosen not in texts:
        return []
    best = made.rewards[texts.index(str(chosen))]
    known = [at for at in _rewarded(made)[::-1] if not made.answered.cut[at] and texts[at].strip()]
    worse = [at for at in known if best is not None and (made.rewards[at] or 0.0) < best - recipe.make.margin]
    found = list(dict.fromkeys(texts[at] for at in worse if texts[at] not in (chosen, rejected)))
    return found[: recipe.loss.negatives - 1]


def _rewarded(made: Made) -> list[int]:
    """The answers that have a reward, the best first, in the order in which they were drawn."""
    known = [at for at, reward in enumerate(made.rewards) if reward is not None and made.ids[at]]
    return sorted(known, key=lambda at: -(made.rewards[at] or 0.0))


def _example(
    recipe: Recipe, chat: Chat, made: Made, chosen: Sequence[int], rejected: Sequence[int],
    others: Sequence[Sequence[int]] = (), rewards: Sequence[float] = (),
) -> Example:  # fmt: skip
    """An example of answers as they were drawn, their end tokens included, cut to the room there is."""
    prompt = prompt_ids(chat, made.answered.asked)
    room = recipe.data.max_tokens - len(prompt)
    return Example(
        prompt, list(chosen[:room]), list(rejected[:room]), len(chosen) > room, len(rejected) > room, False,
        made.answered.asked.where, None, tuple(list(one[:room]) for one in others), tuple(rewards),
    )  # fmt: skip
