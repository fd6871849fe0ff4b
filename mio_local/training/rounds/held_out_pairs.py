"""The held-out pairs that a run of rounds made at its start, read again from its folder."""

from collections.abc import Sequence
from pathlib import Path

from mio_local.data.examples import Example
from mio_local.data.template import Chat
from mio_local.errors import RunError
from mio_local.making.answered import Asked, Judge
from mio_local.making.make import Maker, Making
from mio_local.making.work_file import Work
from mio_local.recipe import Recipe
from mio_local.training.rounds.trained_groups import examples_of

HELD_OUT_FILE = "held-out.jsonl"


def held_out_examples(folder: Path, recipe: Recipe, chat: Chat, asked: Sequence[Asked], judge: Judge) -> list[Example]:
    """The pairs of the answers in `folder`/held-out.jsonl. Raises RunError where there is no such file."""
    file = folder / HELD_OUT_FILE
    if not file.exists():
        raise RunError(f"{file}: no such file; the run made no held-out pairs")
    with Work(file) as work:
        maker = Maker(None, chat, asked, recipe.make, judge, recipe.train.seed, work, key=recipe.make.judge)
        return held_out_of(recipe, chat, maker.making(), judge)


def held_out_of(recipe: Recipe, chat: Chat, making: Making, judge: Judge) -> list[Example]:
    """What was made, as a chosen and a rejected answer, whatever the objective needs."""
    loss = recipe.loss.model_copy(update={"name": "mio", "negatives": 1})
    return examples_of(recipe.model_copy(update={"loss": loss}), chat, making.made, judge.threshold)
