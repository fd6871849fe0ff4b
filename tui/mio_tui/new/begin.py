"""From a draft to runs that train in the background."""

import shutil
from pathlib import Path

from mio_local import runs
from mio_local.errors import RunError
from mio_local.launch import launch, lay_out
from mio_local.recipe import Recipe
from mio_local.runs import Run


def name_error(folder: Path, name: str) -> str:
    """What is wrong with the name of a run; empty where nothing is."""
    try:
        if name:
            runs.claim(folder, name)
    except RunError as error:
        return str(error).removeprefix("--name ")
    return ""


def begin(recipes: list[Recipe], folder: Path, name: str, memory_estimate: int) -> Run:
    """Lay the runs out and train them one after the other; the first. Raises RunError and OSError, and leaves nothing.

    With several recipes, each run's name ends in its objective. `memory_estimate` is bytes, 0 for none.
    """
    queue: list[Run] = []
    try:
        for recipe in recipes:
            run_name = f"{name}-{recipe.loss.name}" if name and len(recipes) > 1 else name
            queue.append(lay_out(recipe, folder, run_name))
            if memory_estimate:
                queue[-1].update_status(memory_estimate=memory_estimate, pid=0)
        launch(queue)
    except (RunError, OSError):
        for run in queue:
            shutil.rmtree(run.path, ignore_errors=True)
        raise
    return queue[0]
