"""`mio-local watch`, `attach`, `pause` and `stop`: deal with a run that another process trains.

`watch` only looks: Ctrl-C leaves the run alone. `attach` is as if the run had been started here: Ctrl-C stops and
saves. One that waits for another run is waited with.
"""

import argparse
import itertools
import math
import time
from collections.abc import Iterator
from typing import Any

from mio_local import printing
from mio_local.errors import RunError
from mio_local.runs import control, directory
from mio_local.runs.directory import LIVE, Run, runs_folder
from mio_local.runs.events import Event, is_number
from mio_local.runs.queue import ahead_of, place_of
from mio_local.runs.summary import note_of
from mio_local.runs.tail import Tail
from mio_local.text import visible, visible_line

POLL = 0.2  # seconds


def main(arguments: argparse.Namespace) -> int:
    """Do what `arguments.command` says with the run; 130 where Ctrl-C ended the looking."""
    run = directory.find(runs_folder(arguments.runs), arguments.run)
    out = printing.console()
    if arguments.command in ("pause", "stop"):
        return ask(run, arguments.command, out)
    reader = Reader(run)
    status = run.read_status()
    where = f" {note_of(status, place_of(run))}" if status["waits"] or status["away"] else ""
    out.print(f"run {visible(run.name)}: {visible_line(str(status['state']) + where)}, {_subject(run)}")
    interrupted = False
    while True:
        try:
            return look(reader, out)
        except KeyboardInterrupt:
            if arguments.command == "watch" or interrupted or not _goes_on(run.read_status()):
                out.print(f"{visible(run.name)} is left alone")
                printing.next_steps(out, *printing.ways(run))
                return 130
            interrupted = True
            control.request(run.control, "stop")
            out.print("asked to stop and save; Ctrl-C again leaves without waiting")


def ask(run: Run, command: str, out: printing.Console) -> int:
    """Send a request to the run's trainer, or to the process that waits with it. Raises RunError where there is none,
    or nothing to pause."""
    status = run.read_status()
    state = status["state"]
    if status["waits"] and command == "stop":
        control.request(run.control, command)
        out.print(f"{visible(run.name)} leaves the line, and does not begin")
        printing.next_steps(out, f"mio-local resume {printing.called(run)}")
        return 0
    if status["waits"]:
        raise RunError(f"run {run.name} waits for {ahead_of(status)}, so there is nothing to pause; take it out of the "
                       f"line with: mio-local stop {printing.called(run)}")  # fmt: skip
    if state not in LIVE:
        raise RunError(f"run {run.name} is {state}, so there is nothing to {command}; see it with: "
                       f"mio-local show {printing.called(run)}")
    control.request(run.control, command)
    if command == "stop":
        out.print(f"{visible(run.name)} finishes its step, saves and ends")
        printing.next_steps(out, f"mio-local watch {printing.called(run)}", f"mio-local resume {printing.called(run)}")
    else:
        out.print(f"{visible(run.name)} finishes its step, then waits with the model in memory")
        printing.next_steps(out, f"mio-local resume {printing.called(run)}")
    return 0


def look(reader: "Reader", out: printing.Console) -> int:
    """Show the run's past and what is added to it, until it ends; 0 where it is done or stopped."""
    run = reader.run
    events = reader.events()
    status = run.read_status()
    with out.status(f"waits for {visible(ahead_of(status))}" if status["waits"] else "waiting for the first step"):
        first = next(events, None)
    if first and first.type == "started":  # status.json holds the number only once it trains
        reader.total = _total(first.values) or reader.total
    printing.follow(itertools.chain([first] if first else [], events), reader.total, out)
    status = run.read_status()
    if status["state"] in ("failed", "lost"):
        raise RunError(f"run {run.name} {status['state']}: {status.get('reason') or 'its process is gone'}; "
                       f"mio-local resume {printing.called(run)}")
    out.print(visible(f"{status['state']} at step {status.get('step', 0)}: {run.path}"))
    next_step = "show" if status["state"] == "done" else "resume"
    printing.next_steps(out, f"mio-local {next_step} {printing.called(run)}")
    return 0


def _goes_on(status: dict[str, Any]) -> bool:
    """Whether a trainer is at work, or waits for its turn."""
    return status["state"] in LIVE or bool(status["waits"])


def _subject(run: Run) -> str:
    status = run.read_status()
    return visible_line(f"{status.get('loss_name', '')} on {status.get('model', '')}")


def _total(values: dict[str, Any]) -> int:
    """Steps in all, 0 where that is not known."""
    total = values.get("total_steps")
    return int(total) if is_number(total) else 0


class Reader:
    """What a run has written and goes on to write; no event twice, also when an interrupt ended the first look."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.total = _total(run.read_status())
        self._seen = 0

    def events(self) -> Iterator[Event]:
        """Events as they come, until the trainer is gone and all is read. A figure that was not finite is nan again."""
        tail = Tail(self.run.events)
        count = 0
        while True:
            live = _goes_on(self.run.read_status())  # before the poll: a dying trainer's last words count
            again, records = tail.poll()
            count = 0 if again else count
            for record in records:
                count += 1
                if count > self._seen:
                    self._seen = count
                    values = {key: math.nan if value is None else value for key, value in record.items()}
                    yield Event(record["type"], record["step"], values)
            if not live and not tail.behind:
                return
            if not tail.behind:
                time.sleep(POLL)
