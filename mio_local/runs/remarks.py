"""What its user notes about a run: a few words and tags, in a file of their own, which the trainer never writes."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mio_local.errors import RunError
from mio_local.runs.directory import Run
from mio_local.runs.fields import listed, table
from mio_local.storage.json_files import read_json
from mio_local.storage.writing import PRIVATE, write_atomically
from mio_local.text import visible_line

FILE = "remarks.json"  # in the run's folder
LONGEST_NOTE = 4000  # characters
MOST_TAGS = 20
TAG = re.compile(r"[^\W_][\w.-]{0,39}")  # letters of any language


@dataclass(frozen=True)
class Remarks:
    """`tags` are in their order of the alphabet."""

    note: str = ""
    tags: tuple[str, ...] = ()


def remarks_file(run: Run) -> Path:
    """Where a run's remarks are."""
    return run.path / FILE


def read_remarks(run: Run) -> Remarks:
    """A run's remarks, whatever its file holds: what is no note or no tag is left out."""
    try:
        said = table(read_json(remarks_file(run)))
    except (OSError, ValueError):
        return Remarks()
    note = said.get("note")
    tags = {tag for tag in listed(said.get("tags")) if isinstance(tag, str) and TAG.fullmatch(tag)}
    return Remarks(note[:LONGEST_NOTE] if isinstance(note, str) else "", tuple(sorted(tags)[:MOST_TAGS]))


def set_note(run: Run, note: str) -> Remarks:
    """Replace the note; an empty one takes it away. Raises RunError for one that is too long, and OSError."""
    note = note.strip()
    if len(note) > LONGEST_NOTE:
        raise RunError(f"the note has {len(note):,} characters; use at most {LONGEST_NOTE:,}")
    return _write(run, Remarks(note, read_remarks(run).tags))


def set_tags(run: Run, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Remarks:
    """Add and take away tags, whether or not they are there. Raises RunError for what is no tag, and OSError."""
    before, added = read_remarks(run), list(add)
    for tag in added:
        if not TAG.fullmatch(tag):
            raise RunError(f"tag {visible_line(tag, 60)}: use one word of at most 40 letters, digits, '.', '_' and '-'")
    tags = {*before.tags, *added} - set(remove)
    if len(tags) > MOST_TAGS:
        raise RunError(f"run {run.name} would have {len(tags)} tags; use at most {MOST_TAGS}")
    return _write(run, Remarks(before.note, tuple(sorted(tags))))


def _write(run: Run, remarks: Remarks) -> Remarks:
    said: dict[str, Any] = {"note": remarks.note, "tags": remarks.tags}
    write_atomically(remarks_file(run), json.dumps(said) + "\n", PRIVATE)
    return remarks
