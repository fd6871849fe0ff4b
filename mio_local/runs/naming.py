"""A run's name and the places it names: changing them, with what refers to it, and finding the run that a recipe calls
by it."""

import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from mio_local.errors import MioError, ModelError, RecipeError, RunError, nearest
from mio_local.recipe import PATHS, Recipe, build, read_toml
from mio_local.runs.directory import LONGEST_NAME, NAME, Run, list_runs
from mio_local.runs.fields import other_host
from mio_local.runs.queue import ahead_of, idle
from mio_local.storage.writing import PRIVATE, write_atomically
from mio_local.text import visible

FLAGS = {"model.name": "--model", "data.source": "--data", "data.eval_source": "--eval-data"}


def located(recipe: Recipe, runs: Path, *, now: bool = True) -> Recipe:
    """The recipe with the folder of the run's adapter where `lora.init_adapter` calls a run of `runs` by its name.
    A folder of that name with an adapter goes before. Raises ModelError for what is neither, and RunError for a run
    without an adapter that would be needed `now`."""
    name = recipe.model.name
    if name and NAME.fullmatch(name) and not Path(name).exists() and Run(runs / name).exists():
        raise ModelError(f"--model {name}: is a run; train on from it with --init-adapter {name}, chat with "
                         f"mio-local chat {name}, make pairs by it with mio-local data make --from {name}")  # fmt: skip
    name = recipe.lora.init_adapter
    if not name or "/" in name or _has_adapter(Path(name)):
        return recipe
    run = Run(runs / name)
    if not run.exists():
        if Path(name).exists():
            return recipe
        hint = nearest(name, [other.name for other in list_runs(runs)])
        raise ModelError(f"{name}: no such adapter folder, and no run of that name in {runs}{hint}")
    if now and not run.adapter.exists():
        raise RunError(f"run {name}: has no adapter before it is done or stopped; add: --after {name}")
    lora = recipe.lora.model_copy(update={"init_adapter": str(run.adapter.absolute())})
    return recipe.model_copy(update={"lora": lora})


def _has_adapter(folder: Path) -> bool:
    return any((place / "adapter_config.json").exists() for place in (folder, folder / "adapter"))


def own(runs: Path, name: str) -> Run:
    """The run called `name` in the folder `runs`, a link as it is. Raises RunError for what is none, or lies elsewhere:
    a path is taken as long as it leads there."""
    given = Path(os.path.expanduser(name))
    if "/" in name and given.parent.resolve() == runs.resolve():
        name = given.name
    run = Run(runs / name)
    if "/" in name or name in ("", ".", "..") or not run.exists():
        known = [other.name for other in list_runs(runs)]
        raise RunError(f"no run {name} in {runs}{nearest(name, known)}; mio-local runs lists them")
    return run


def rename(run: Run, new: str) -> tuple[Run, list[str]]:
    """Give a run another name. Recipes that begin with its adapter, or read its pairs or model, and queued runs that
    were to run after it, call it by that from then on.

    The run, and the names of those that could not be changed. Raises RunError for a name that is none, or taken, and
    where the run, or one that refers to it, trains or waits; OSError.
    """
    if not NAME.fullmatch(new) or len(new) > LONGEST_NAME:
        raise RunError(f"{new}: no name of a run; use at most {LONGEST_NAME} letters, digits, '.', '_' and '-', and "
                       "begin with a letter or digit")  # fmt: skip
    folder = run.path.parent
    renamed = Run(folder / new)
    if os.path.lexists(renamed.path):
        raise RunError(f"{new}: taken in {folder}; choose another name")
    moved = {str(place / run.name): str(place / new) for place in (folder.absolute(), folder.resolve())}
    with ExitStack() as stack:
        stack.enter_context(idle(run, "renamed"))
        referring = [other for other in list_runs(folder) if other != run and _refers(other, run.name, moved)]
        for other in referring:
            stack.enter_context(idle(other, f"changed with {run.name}, which it rests on"))
        run.path.rename(renamed.path)
        behind: list[str] = []
        for other in referring:
            try:
                _follow(other, run.name, new, moved)
            except (MioError, OSError, ValueError):
                behind.append(other.name)
        with suppress(MioError, OSError, ValueError):
            renamed.write_info({**renamed.read_info(), "name": new})
    return renamed, behind


def _refers(run: Run, name: str, moved: Mapping[str, str]) -> bool:
    try:
        if run.read_status().get("after") == name:
            return True
        if name not in run.recipe_text():  # sooner than to read all that it says
            return False
        recipe = build(read_toml(run.recipe), str(run.recipe))
        return any(_moved(getattr(getattr(recipe, section), key), moved) for section, key in PATHS)
    except (MioError, OSError, ValueError):  # damaged: it names nothing
        return False


def _moved(place: str, moved: Mapping[str, str]) -> str:
    """Where a path in a folder that was moved leads now; "" for one that is in none."""
    return next((new + place[len(old) :] for old, new in moved.items() if f"{place}/".startswith(f"{old}/")), "")


def _follow(run: Run, name: str, new: str, moved: Mapping[str, str]) -> None:
    """Change what the recipe, run.json and status.json say of a run that was renamed. Raises MioError, OSError."""
    recipe = build(read_toml(run.recipe), str(run.recipe))
    places = {f"{section}.{key}": _moved(getattr(getattr(recipe, section), key), moved) for section, key in PATHS}
    model = run.read_info().get("model_folder")
    write_places(run, {key: place for key, place in places.items() if place},
                 _moved(model, moved) if isinstance(model, str) else "")  # fmt: skip
    status = run.read_status()
    if ahead_of(status) == name:
        kept = {key: status[key] for key in ("since", "needs", "pid") if key in status}
        run.update_status(after=new, **kept)


def in_places(recipe: Recipe, places: Mapping[str, str]) -> Recipe:
    """The recipe with other paths, {"section.key": path}. Raises RecipeError for a key that is none of a path."""
    for key, place in places.items():
        section, _, name = key.partition(".")
        if (section, name) not in PATHS:
            raise RecipeError(f"{key}={place}: no place that a run may look elsewhere for; there are "
                              f"{', '.join('.'.join(path) for path in PATHS)}")  # fmt: skip
        table = getattr(recipe, section)
        recipe = recipe.model_copy(update={section: table.model_copy(update={name: place})})
    return recipe


def write_places(run: Run, places: Mapping[str, str], model_folder: str = "") -> None:
    """Change the paths in a run's frozen recipe, and with `model_folder` that in its run.json. Raises MioError,
    OSError."""
    recipe = in_places(build(read_toml(run.recipe), str(run.recipe)), places)
    info, text, age = run.read_info(), recipe.dump(), run.recipe.stat()
    info |= {"model_folder": model_folder} if model_folder else {}
    run.write_info(info, text)  # whenever this is killed, the two files belong together
    write_atomically(run.recipe, text, PRIVATE)
    run.write_info(info)
    os.utime(run.recipe, ns=(age.st_atime_ns, age.st_mtime_ns))  # runs are listed by it


def missing(run: Run, recipe: Recipe) -> tuple[str, str]:
    """The first key whose whole path is not on this machine, and what to tell of it; two empty strings for none."""
    for section, key in PATHS:
        place = getattr(getattr(recipe, section), key)
        if place.startswith("/") and not Path(place).exists():
            whose = f" of {visible(host)}" if (host := other_host(run.read_info())) else ""
            flag = FLAGS.get(f"{section}.{key}", f"--set {section}.{key}=")
            told = f"run {run.name}: {section}.{key} was {visible(place)}{whose}, which is not here"
            return f"{section}.{key}", f"{told}; say where it is now: {flag}{'' if flag.endswith('=') else ' '}PATH"
    return "", ""
