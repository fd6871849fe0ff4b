"""What status.json says of a run that trains: what a list of runs shows, and the verdict so far."""

import math
import time
from typing import Any

from mio_local.objectives.metrics import Metrics
from mio_local.reports.evidence import BATCHES, judged_until
from mio_local.reports.verdict import verdict
from mio_local.runs.events import Event, is_number
from mio_local.runs.history import read
from mio_local.runs.summary import facts
from mio_local.training.job import Job

SHOWN = ("loss", "delta/chosen", "delta/rejected", "rewards/accuracies")
MEASURED = ("started", "eval", "text", "task", "finished")  # events that a verdict may turn on
STATUS_GAP = 0.25  # seconds between two writes of status.json that only report progress


class Standing:
    """Writes status.json. Its verdict is of the events that it was told of and of those of the sessions before; of the
    steps it keeps those that a verdict looks at."""

    def __init__(self, job: Job, total: int) -> None:
        self.job, self.total = job, total
        self.state, self.told = "starting", 0.0
        self.estimate = job.run.read_status().get("memory_estimate")
        self.history = read(job.run)
        last = self.history.last("eval")  # of a session before: until the next one, figures of batches are others
        self.latest, self.held_out = Metrics(), {key: last[key] for key in SHOWN if is_number(last.get(key))}
        self._forget()
        self._judge()

    def hear(self, event: Event) -> None:
        """Take in an event that was written; status.json has the verdict after each that was measured."""
        self.history.add([{"type": event.type, "step": event.step, **event.values}])
        every = self.job.recipe.eval.every
        unscored = event.type == "step" and every and event.step % every == 0 and not self.history.of("eval")
        if event.type in MEASURED or unscored:
            self._judge()
            if event.type != "finished":  # who ends the run writes that
                self.write(self.state)
        if len(self.history.of("step")) > 4 * BATCHES:
            self._forget()

    def _judge(self) -> None:
        found = verdict(self.history)
        self.verdict = {"verdict": found.kept()} if found else {}

    def _forget(self) -> None:
        steps, until = self.history.of("step"), judged_until(self.history)
        judged = [event for event in steps if event["step"] <= until]
        steps[:] = judged[-BATCHES:] + steps[len(judged) :][-BATCHES:]

    def write(self, state: str, **more: Any) -> None:
        """Replace status.json."""
        self.state, self.told = state, time.monotonic()
        self.job.run.write_status(
            memory_estimate=self.estimate, state=state, step=self.job.progress.step, total_steps=self.total,
            **facts(self.job.recipe), metrics=_finite(self.latest), held_out=_finite(self.held_out),
            tracked=self.job.tracked, **self.verdict, **more,
        )  # fmt: skip

    def on_the_way(self, what: str, done: int, total: int) -> Event:
        """Progress of something that takes a while; in status.json too, for those who only read."""
        if done < total and time.monotonic() - self.told > STATUS_GAP:
            self.write(self.state, doing=what, done=done, total=total)
        return Event("progress", self.job.progress.step, {"what": what, "done": done, "total": total})


def _finite(metrics: Metrics) -> Metrics:
    return {key: metrics[key] for key in SHOWN if math.isfinite(metrics.get(key, math.nan))}
