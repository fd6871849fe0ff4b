"""The trackers, and what each of them is asked to do by its module.

Another tracker is one more line here, one more word of `train.track`, and one more module beside these. A tracker is
told of metrics, notes and settings; no prompt and no answer of the data is handed to it.
"""

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from mio_local.errors import RecipeError
from mio_local.process import installing

NONE = "none"  # of `train.track`
PROJECT = "mio-local"  # what the runs are gathered under where the tracker's own environment names nothing else
# by the name of the library, which is that of the extra too: the module and the class that speak to it
TRACKERS = {
    "trackio": "trackio_tracker:TrackioRun",
    "wandb": "wandb_tracker:WandbRun",
    "mlflow": "mlflow_tracker:MlflowRun",
    "tensorboard": "tensorboard_tracker:TensorboardRun",
}


@dataclass(frozen=True)
class Subject:
    """What a tracker is told of a run at first. `identity` is what it called the run in an earlier session, if any."""

    name: str
    folder: Path
    config: dict[str, Any]
    identity: str


class Tracker(Protocol):
    """A run as its tracker has it, made from a `Subject`. Any method may raise anything, and may take its time.

    `identity` is what it goes on by in a later session; `where` an address, or the command that shows it.
    """

    identity: str
    where: str

    def metrics(self, step: int, values: dict[str, float], time: float) -> None:
        """Take figures of a step; `time` is Unix seconds."""
        ...

    def note(self, step: int, level: str, code: str, text: str, time: float) -> None:
        """Take a note of the trainer's: level info, warning or error."""
        ...

    def flush(self) -> None:
        """Return when what was taken outlives this process."""
        ...

    def end(self, state: str) -> None:
        """Send what is left: the run is done, stopped, failed or lost."""
        ...


def check_tracker(name: str, otherwise: str = "") -> None:
    """Raise RecipeError where the library of `train.track` is not installed, with what else to do."""
    if name == NONE:
        return
    found = find_spec(name)
    if found is None or found.origin is None:  # a mere folder of that name, as wandb leaves where it ran
        install = f"install it with: {installing(name)}"
        raise RecipeError(f"train.track = {name}: not installed; {install}{otherwise}")


def begin(name: str, subject: Subject) -> Tracker:
    """Begin a run with a tracker, or go on with it. Raises whatever the library raises."""
    module, _, kind = TRACKERS[name].partition(":")
    return getattr(importlib.import_module(f"mio_local.tracking.{module}"), kind)(subject)
