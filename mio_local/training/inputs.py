"""What a recipe names, on this disk: its pairs as tokens, and the folder of its model."""

from pathlib import Path
from typing import NamedTuple

from mio_local.data.tokenise import Split, Tokens, chat_of, read_split, tokenise
from mio_local.models.locate import model_folder
from mio_local.progress import Report
from mio_local.recipe import Recipe
from mio_local.training.rounds.run_prompts import RunPrompts, given_prompts, split_prompts, stand_in_tokens


class Inputs(NamedTuple):
    """Pairs as tokens, the folder of the model, and of a run of rounds its prompts."""

    tokens: Tokens
    place: Path
    prompts: RunPrompts | None = None


def tokenised(recipe: Recipe, now: float, report: Report) -> Inputs:
    """What is there as of `now`; the pairs are read first, as the model may be a download. A run of rounds has
    stand-ins of its prompts for pairs.

    Raises DataError, ModelError, HubError.
    """
    if recipe.train.rounds:
        report("reading the prompts", 0, 0)
    read = given_prompts(recipe) if recipe.train.rounds else read_split(recipe, report)
    report("finding the model", 0, 0)
    place = model_folder(recipe.model)
    chat = chat_of(recipe.model, recipe.data, place, now)
    if isinstance(read, Split):
        return Inputs(tokenise(recipe, read, chat, report), place)
    prompts = split_prompts(recipe, chat, read)
    return Inputs(stand_in_tokens(recipe, chat, prompts), place, prompts)
