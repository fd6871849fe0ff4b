"""From a draft to runs that train in the background."""

import shutil
from pathlib import Path

from mio_local.errors import RunError
from mio_local.process import TRUST
from mio_local.recipe import Recipe
from mio_local.runs import directory
from mio_local.runs.directory import Run
from mio_local.runs.launch import launch, lay_out
from mio_local.runs.stages import stages


def name_error(folder: Path, name: str, *, both: bool = False) -> str:
    """What is wrong with the name of a run, or with those that `begin` makes of it; empty where nothing is."""
    try:
        for run_name in ([f"{name}-mio", f"{name}-dpo"] if both else [name]) if name else []:
            directory.claim(folder, run_name)
    except RunError as error:
        return str(error).removeprefix("--name ")
    return ""


def unbounded(recipe: Recipe) -> Recipe:
    """The recipe for a run that starts though it is estimated not to fit; a limit of the user's own stays."""
    if recipe.backend.memory_limit != "auto":
        return recipe
    return recipe.model_copy(update={"backend": recipe.backend.model_copy(update={"memory_limit": "none"})})


def begin(recipes: list[Recipe], folder: Path, name: str, memory_estimate: int, after: Run | None = None) -> Run:
    """`begin_named` with one name: with several recipes, each run's name ends in its objective."""
    several = name and len(recipes) > 1
    names = [f"{name}-{recipe.loss.name}" if several else name for recipe in recipes]
    return begin_named(recipes, folder, names, memory_estimate, trusted=True, after=after)  # `checks` has asked


def begin_named(
    recipes: list[Recipe], folder: Path, names: list[str], memory_estimate: int = 0, *, trusted: bool = False,
    after: Run | None = None,
) -> Run:  # fmt: skip
    """Lay the runs out and train them one after the other, now or once `after` is over; the first. Raises RunError and
    OSError, and leaves nothing.

    `memory_estimate` is bytes, 0 for none. Remote code that a recipe asks for runs where that is `trusted`.
    """
    queue: list[Run] = []
    try:
        for recipe, name in stages(recipes, folder, names):
            queue.append(lay_out(recipe, folder, name))
            if memory_estimate:
                queue[-1].update_status(memory_estimate=memory_estimate, pid=0)
        asks = trusted and any(recipe.model.trust_remote_code for recipe in recipes)
        launch(queue, *[TRUST] * asks, after=after)
    except (RunError, OSError):
        for run in queue:
            shutil.rmtree(run.path, ignore_errors=True)
        raise
    return queue[0]
