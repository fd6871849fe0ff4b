"""The process that mirrors a run to its tracker: `python -m mio_local.tracking.mirror RUN TRACKER PROCESS`.

It reads events.jsonl as anybody may and writes to files of its own. The library may raise, hang or take the process
down with it: the trainer only ever waits a moment for it, at the end. What the library prints is in tracker.log.
"""

import argparse
import fcntl
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from mio_local.errors import one_line
from mio_local.process import claim
from mio_local.recipe import Recipe, build, read_toml
from mio_local.runs.directory import Run
from mio_local.runs.events import is_number
from mio_local.runs.tail import Tail
from mio_local.storage.writing import append
from mio_local.text import visible_line, without_secrets
from mio_local.tracking.mirror_state import MirrorState, Places
from mio_local.tracking.trackers import Subject, Tracker, begin

POLL = 2.0  # seconds between two looks for new events
PART = 200_000  # bytes of events between two flushes: some hundred steps
LONGEST = 300  # seconds that a library may take for so much, its own retries included
LAST = 60  # seconds that are left once the run has ended
GENTLE = 10  # how much the process steps back behind the trainer, as `nice` counts
PREFIXES = {  # as transformers and TRL name them in a tracker; what a round drew is of training too
    "step": "train/", "eval": "eval/", "task": "task/", "round": "round/", "reward": "eval/",
}  # fmt: skip
OF_EVENTS = ("type", "step", "time")  # which are no figures


def main() -> None:
    """Mirror until the trainer ends. The exit code is 1 where that failed."""
    claim()
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("tracker")
    parser.add_argument("trainer", type=int, help="the process that trains")
    arguments = parser.parse_args()
    os.nice(GENTLE)
    os.umask(0o077)
    signal.alarm(LONGEST)  # the system ends the process then, even where a library lets no Python run
    run, code = Run(arguments.run), 1
    try:
        mirror(run, arguments.tracker, Trainer(arguments.trainer))
        code = 0
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        state = MirrorState.read(run.path, arguments.tracker)  # without what was being sent: a resume sends it
        state.trouble = without_secrets(visible_line(f"{type(error).__name__}: {one_line(error)}"))
        state.write()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # not by way of what libraries leave to be done at the exit


class Trainer:
    """The process that trains. It says on stdin how the run ended."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._said = os.dup(0)
        with open(os.devnull, "rb") as nowhere:
            os.dup2(nowhere.fileno(), 0)  # a library that asks for a password gets none

    def ended(self, seconds: float) -> str:
        """How the run ended, `lost` where its process is gone, or "" while it goes on; waits so long at most."""
        if select.select([self._said], [], [], seconds)[0]:
            return os.read(self._said, 100).decode("ascii", "replace").strip() or "lost"
        return "" if os.getppid() == self._process else "lost"


def mirror(run: Run, name: str, trainer: Trainer) -> None:
    """Send what was not sent yet and all that comes. Raises whatever the library raises."""
    lock = append(run.path / "tracker.lock")
    fcntl.flock(lock, fcntl.LOCK_EX)  # what an earlier session has not sent yet it may still send
    state = MirrorState.read(run.path, name)
    config = settings(build(read_toml(run.recipe), str(run.recipe)))
    tracker = begin(name, Subject(run.name, run.path, config, state.identity))
    state.identity, state.where, state.trouble = tracker.identity, tracker.where, ""
    state.write()
    tail, places, ended = Tail(run.events), Places(), ""
    while True:
        if not ended:
            ended = trainer.ended(0)  # before the poll: a dying trainer's last words count
            signal.alarm(LAST if ended else LONGEST)
        again, events = tail.poll(PART)
        places = Places() if again else places
        if new := [event for event in events if _is_new(event, places, state)]:
            send(tracker, new)
            tracker.flush()
            state.write()
        if ended and not tail.behind:
            break
        if not tail.behind:
            ended = trainer.ended(POLL)
            signal.alarm(LAST if ended else LONGEST)
    tracker.end(ended)


def _is_new(event: dict[str, Any], places: Places, state: MirrorState) -> bool:
    """Whether an event is for a tracker and was not sent yet; it counts as sent from then on."""
    if event["type"] not in (*PREFIXES, "note"):
        return False
    kind, place = places.of(event)
    if place <= state.sent.get(kind, (-1, -1)):
        return False
    state.sent[kind] = place
    return True


def send(tracker: Tracker, events: list[dict[str, Any]]) -> None:
    """Hand steps, evaluations, tasks, rounds, rewards and notes over."""
    for event in events:
        when = event["time"] if is_number(event.get("time")) else time.time()
        if event["type"] == "note":
            level, code, text = (str(event.get(key, "")) for key in ("level", "code", "text"))
            tracker.note(event["step"], level, code, visible_line(text), when)
        else:
            tracker.metrics(event["step"], figures(event), when)


def figures(event: dict[str, Any]) -> dict[str, float]:
    """The finite figures of an event by their names there: no text, so of a round not its group of answers."""
    prefix = PREFIXES[event["type"]]
    return {prefix + key: float(value) for key, value in event.items() if key not in OF_EVENTS and is_number(value)}


def settings(recipe: Recipe) -> dict[str, Any]:
    """The recipe's tables, without what looks like a secret."""
    return {section: _clean(table, section) for section, table in recipe.model_dump().items()}


def _clean(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {name: _clean(each, str(name)) for name, each in value.items()}
    if isinstance(value, list):
        return [_clean(each, key) for each in value]
    shown = without_secrets(f"{key}={value}")
    return value if shown == f"{key}={value}" else shown.partition("=")[2]


if __name__ == "__main__":
    main()
