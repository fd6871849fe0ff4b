"""What `train` and `resume` do first where a run has several ranks, of which this process may be any."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from mio_local.backends import resolve_backend
from mio_local.errors import BackendError
from mio_local.flags import recipe_from
from mio_local.launched.launchers import LIBRARY, launcher, place_of
from mio_local.ranks.rendezvous import follow
from mio_local.recipe import Recipe, build, read_toml
from mio_local.runs import directory
from mio_local.runs.directory import runs_folder


def served(arguments: argparse.Namespace) -> bool:
    """Where a launcher began this process as another rank than the first: serve that, and True once it is through.
    Where machines are named by --hosts, this process becomes mlx.launch. Raises MioError."""
    name = launcher()
    if arguments.hosts and not name:
        _launch(Path(arguments.hosts))
    if not name or not (place := place_of(name)).rank:
        return False
    recipe = with_ranks(_recipe(arguments))
    backend, recipe, _ = resolve_backend(recipe)
    follow(backend, recipe.backend.device, place)
    return True


def with_ranks(recipe: Recipe, devices: int = 0) -> Recipe:
    """The recipe with the number of devices that a launcher began ranks for, else with `devices` where that is above 0.
    Raises BackendError where launcher and recipe do not agree."""
    given = recipe.backend
    if name := launcher():
        size = place_of(name).size
        if (devices or given.devices) not in (1, size):
            raise BackendError(f"--devices {devices or given.devices}: {name} says {size}; leave --devices out where a "
                               "launcher starts the ranks")  # fmt: skip
        if given.name not in ("auto", LIBRARY[name]):
            own = "torchrun" if given.name == "cuda" else "mlx.launch"
            raise BackendError(f"--backend {given.name}: {own} starts its ranks, or --devices; this process was begun "
                               f"by what sets {name}")  # fmt: skip
        given, devices = given.model_copy(update={"name": LIBRARY[name]}), size
    return recipe.model_copy(update={"backend": given.model_copy(update={"devices": devices or given.devices})})


def _recipe(arguments: argparse.Namespace) -> Recipe:
    """What rank 0 trains by, as far as backend and device go."""
    if arguments.command == "train":
        return recipe_from(arguments)
    run = directory.find(runs_folder(arguments.runs), arguments.run)
    recipe = build(read_toml(run.recipe), str(run.recipe))
    return recipe.model_copy(update={"backend": recipe.backend.model_copy(update={"devices": 1})})


def _launch(hosts: Path) -> None:
    """Become mlx.launch, which begins this command on every machine of the file."""
    found = shutil.which("mlx.launch", path=os.path.dirname(sys.executable)) or shutil.which("mlx.launch")
    if not found:
        raise BackendError("--hosts: there is no mlx.launch here, which comes with mlx; install that")
    if not hosts.is_file():
        raise BackendError(f"--hosts {hosts}: no such file; mlx.distributed_config writes one")
    program = [os.path.abspath(sys.argv[0])]
    if sys.argv[0].endswith("__main__.py"):
        program = [sys.executable, "-m", "mio_local"]
    os.execv(found, [found, "--hostfile", str(hosts), "--", *program, *sys.argv[1:]])
