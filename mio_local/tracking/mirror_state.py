"""What is known of a run at its tracker between two sessions: its name there, and how far its events were sent."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mio_local.runs.fields import table
from mio_local.storage.json_files import read_json
from mio_local.storage.writing import PRIVATE, write_atomically
from mio_local.tracking.trackers import TRACKERS

Place = tuple[int, int]  # an event's step, and how many of its kind came before it at that step


@dataclass
class MirrorState:
    """One file a tracker, so that a run which changes its tracker and comes back goes on where it was.

    `sent` has the place of the last event of each kind. A resumed run writes the events after its checkpoint once more,
    the same to the bit: by their places they are known, and not sent again.
    """

    file: Path
    identity: str = ""
    where: str = ""
    trouble: str = ""
    sent: dict[str, Place] = field(default_factory=dict[str, Place])

    @classmethod
    def read(cls, folder: Path, tracker: str) -> "MirrorState":
        """What the run's folder has of it; nothing where there is none, or it makes no sense."""
        state = cls(folder / f"tracked-{tracker}.json")
        try:
            said = read_json(state.file)
            texts = {key: said[key] for key in ("identity", "where", "trouble")}
            sent = {str(kind): (int(step), int(nth)) for kind, (step, nth) in said["sent"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return state
        if not all(isinstance(text, str) for text in texts.values()):
            return state
        return cls(state.file, sent=sent, **texts)

    def write(self) -> None:
        """Replace the file."""
        values = asdict(self)
        del values["file"]
        write_atomically(self.file, json.dumps(values) + "\n", PRIVATE)


def seen_by(folder: Path, tracked: object) -> dict[str, Any]:
    """What status.json has of a run's tracker, which may be anything, with what the mirror wrote down after that."""
    told = table(tracked)
    later = MirrorState.read(folder, told["by"]) if told.get("by") in TRACKERS else None
    return told | {"where": later.where or told.get("where")} if later else told


class Places:
    """Gives each event of a stream its kind and its place."""

    def __init__(self) -> None:
        self._last: dict[str, Place] = {}

    def of(self, event: dict[str, Any]) -> tuple[str, Place]:
        """Of the next event. A note's code is part of its kind: another session may have other notes between."""
        kind = f"note/{event.get('code')}" if event["type"] == "note" else event["type"]
        step, nth = self._last.get(kind, (-1, -1))
        place = (event["step"], nth + 1 if event["step"] == step else 0)
        self._last[kind] = place
        return kind, place
