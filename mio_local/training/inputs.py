"""What a recipe names, on this disk: its pairs as tokens, and the folder of its model."""

from pathlib import Path

from mio_local.data.tokenise import Tokens, chat_of, read_split, tokenise
from mio_local.models.locate import model_folder
from mio_local.progress import Report
from mio_local.recipe import Recipe
from mio_local.training.rounds.run_prompts import split_prompts, stand_in_tokens


def tokenised(recipe: Recipe, now: float, report: Report) -> tuple[Tokens, Path]:
    """The pairs as tokens of `now`, and the folder of the model; the pairs are read first, as the model may be
    a download. A run of rounds has stand-ins of its prompts instead.

    Raises DataError, ModelError, HubError.
    """
    if recipe.train.rounds:
        report("reading the prompts", 0, 0)
        prompts = split_prompts(recipe)
        report("finding the model", 0, 0)
        place = model_folder(recipe.model)
        return stand_in_tokens(recipe, chat_of(recipe.model, recipe.data, place, now), prompts), place
    split = read_split(recipe, report)
    report("finding the model", 0, 0)
    place = model_folder(recipe.model)
    return tokenise(recipe, split, chat_of(recipe.model, recipe.data, place, now), report), place
