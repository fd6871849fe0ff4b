"""What was asked of the trainer from this screen, until it is answered."""

import time
from dataclasses import dataclass, field
from typing import Any

from mio_local.errors import one_line
from mio_local.runs.control import request
from mio_local.runs.directory import LIVE, Run

PATIENCE = 15.0  # seconds until a force stop is offered
SAID = 6.0  # seconds that an answer stays on the screen
DOING = {
    "pause": "pausing", "resume": "going on", "stop": "stopping", "checkpoint": "checkpoint asked for",
    "sample": "sample asked for",
}  # fmt: skip
DONE = {  # of those whose effect the state does not show
    "stop": "stop agreed: it saves and ends", "sample": "answering the sample prompt",
    "checkpoint": "checkpoint agreed: saved once a step is done",
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """One request: its id in control.jsonl, and when it was made (monotonic seconds)."""

    command: str
    identity: str
    since: float


@dataclass
class Requests:
    """The requests that wait for an answer, oldest first, and what is said of the newest one that did not."""

    waiting: list[Asked] = field(default_factory=list[Asked])
    said: str = ""
    trouble: bool = False  # whether what is said went wrong
    _until: float = 0.0

    def send(self, run: Run, command: str) -> None:
        """Write a request. Where that cannot be, a full disk say, this is what is said."""
        try:
            identity = request(run.control, command)
        except OSError as error:
            self.say(f"{command} could not be asked for: {one_line(error)}; see the disk of {run.control}", True)
            return
        self.said = ""
        self.waiting.append(Asked(command, identity, time.monotonic()))

    def say(self, words: str, trouble: bool = False) -> None:
        """Put a sentence where the requests are shown."""
        self.said, self.trouble, self._until = words, trouble, time.monotonic() + (3 if trouble else 1) * SAID

    def settle(self, answers: dict[str, str], status: dict[str, Any]) -> None:
        """Drop what was answered: by a `control` event, or by the end of the trainer."""
        live = status.get("state") in LIVE
        for asked in list(self.waiting):
            answer = answers.get(asked.identity)
            if answer is not None:
                self.waiting.remove(asked)
                done = answer == "done"
                self.say(DONE.get(asked.command, "") if done else f"{asked.command}: {answer}", not done)
            elif not live:
                self.waiting.remove(asked)
        if self.said and time.monotonic() > self._until:
            self.said = ""

    @property
    def last(self) -> str:
        """The newest command that waits."""
        return self.waiting[-1].command if self.waiting else ""

    @property
    def overdue(self) -> float:
        """Seconds that the oldest request has waited, 0 while that is not long."""
        waited = time.monotonic() - self.waiting[0].since if self.waiting else 0.0
        return waited if waited > PATIENCE else 0.0
