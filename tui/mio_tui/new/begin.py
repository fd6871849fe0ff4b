"""From a draft to runs that train in the background."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from mio_local.errors import RunError
from mio_local.process import TRUST
from mio_local.recipe import Recipe
from mio_local.runs import directory
from mio_local.runs.directory import Run
from mio_local.runs.launch import launch, lay_out
from mio_local.runs.stages import stages


def names_of(name: str, endings: Iterable[str]) -> list[str]:
    """The names of runs that are told by these endings; empty ones where none was chosen."""
    return [f"{name}-{end}" if name and end else name for end in endings]


def name_error(folder: Path, name: str, endings: Iterable[str]) -> str:
    """What is wrong with the name of a run, or with those that are made of it; empty where nothing is."""
    try:
        for run_name in names_of(name, endings) if name else []:
            directory.claim(folder, run_name)
    except RunError as error:
        return str(error).removeprefix("--name ")
    return ""


def unbounded(recipe: Recipe) -> Recipe:
    """The recipe for a run that starts though it is estimated not to fit; a limit of the user's own stays."""
    if recipe.backend.memory_limit != "auto":
        return recipe
    return recipe.model_copy(update={"backend": recipe.backend.model_copy(update={"memory_limit": "none"})})


def begin_sweep(
    recipes: list[Recipe], folder: Path, names: list[str], memory_estimate: int, after: Run | None = None
) -> list[Run]:
    """As `begin_named`, but each run trains whatever became of the one before it; all of them. Raises RunError and
    OSError, and leaves nothing that was not launched."""
    runs: list[Run] = []
    for recipe, name in zip(recipes, names, strict=True):
        try:
            runs.append(begin_named([recipe], folder, [name], memory_estimate, trusted=True, after=after))
        except (RunError, OSError) as error:
            if not runs:
                raise
            begun = f"{len(runs)} of {len(recipes)} runs were put in line, the rest were not"
            raise RunError(f"{begun}: {error}") from error
        after = runs[-1]
    return runs


def sweep_names(recipe: Recipe, folder: Path, name: str, endings: list[str]) -> list[str]:
    """The names of a sweep's runs; where none was chosen, of its model and its objective, and all of them free."""
    stem = name or directory.free_name(folder, f"{Path(recipe.model.name).name}-{recipe.loss.name}")
    number = 1
    while not name and any((folder / one).exists() for one in names_of(stem, endings)):
        number += 1
        stem = f"{stem.removesuffix(f'-{number - 1}')}-{number}"
    return names_of(stem, endings)


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
