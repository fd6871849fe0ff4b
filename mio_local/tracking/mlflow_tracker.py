"""MLflow: the server of MLFLOW_TRACKING_URI, or else a database beside the runs."""

import os
import shlex
from importlib import import_module
from typing import Any

from mio_local.text import without_secrets
from mio_local.tracking.trackers import PROJECT, Subject

STATES = {"done": "FINISHED", "stopped": "KILLED"}  # any other is FAILED
LONGEST_PARAM, LONGEST_TAG = 500, 5000  # characters: what every version takes
MOST_PARAMS, MOST_METRICS = 100, 1000  # in one request


class MlflowRun:
    """An MLflow run, spoken to by its id: requests return when the server has what they bring."""

    def __init__(self, subject: Subject) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        mlflow: Any = import_module("mlflow")
        self._entities: Any = import_module("mlflow.entities")
        if not os.environ.get("MLFLOW_TRACKING_URI"):  # else the database would lie wherever the trainer was started
            mlflow.set_tracking_uri(f"sqlite:///{subject.folder.parent / 'mlflow.db'}")
        self._client = mlflow.MlflowClient()
        self._taken: list[Any] = []
        if subject.identity:
            run = self._client.get_run(subject.identity)
            self._client.update_run(subject.identity, "RUNNING")
        else:
            run = self._client.create_run(self._experiment(), run_name=subject.name)
        self.identity = str(run.info.run_id)
        self.where = _where(str(mlflow.get_tracking_uri()), run.info.experiment_id, self.identity)
        if not subject.identity:
            self._settings(subject.config)

    def metrics(self, step: int, values: dict[str, float], time: float) -> None:
        metric = self._entities.Metric
        self._taken += [metric(name, value, round(1000 * time), step) for name, value in values.items()]

    def note(self, step: int, level: str, code: str, text: str, time: float) -> None:
        """A tag; another note of the same code takes its place."""
        self._client.set_tag(self.identity, f"note.{code}", f"step {step}, {level}: {text}"[:LONGEST_TAG])

    def flush(self) -> None:
        """Send the figures, those of many steps in one request."""
        for first in range(0, len(self._taken), MOST_METRICS):
            self._client.log_batch(self.identity, metrics=self._taken[first : first + MOST_METRICS])
        self._taken = []

    def end(self, state: str) -> None:
        self._client.set_terminated(self.identity, STATES.get(state, "FAILED"))

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        known = self._client.get_experiment_by_name(name)
        return known.experiment_id if known else self._client.create_experiment(name)

    def _settings(self, config: dict[str, Any]) -> None:
        """The settings by their keys, as `train.steps`."""
        param = self._entities.Param
        found = [
            param(f"{section}.{key}", str(value)[:LONGEST_PARAM])
            for section, table in config.items() for key, value in table.items()
        ]  # fmt: skip
        for first in range(0, len(found), MOST_PARAMS):
            self._client.log_batch(self.identity, params=found[first : first + MOST_PARAMS])


def _where(server: str, experiment: str, run: str) -> str:
    if server.startswith("http"):
        return without_secrets(f"{server.rstrip('/')}/#/experiments/{experiment}/runs/{run}")
    return f"mlflow ui --backend-store-uri {shlex.quote(without_secrets(server))}"
