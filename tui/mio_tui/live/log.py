"""The log panel: what happened, newest last, and what the trainer printed where that explains something."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.text import Text

from mio_local.runs.history import History, is_number
from mio_local.runs.summary import accuracy
from mio_local.storage.plain_files import open_plain
from mio_local.text import visible_line
from mio_tui.formatting import NONE, count, number
from mio_tui.live.plots import Look
from mio_tui.live.rewards.reward_line import held_out_words, round_words
from mio_tui.live.sample import wrapped

MOST = 100  # entries that are shown
BYTES, LINES = 16_000, 40  # of trainer.log
LATEST = 4e10  # Unix seconds; what is later is no time, and the calendar ends
SIGNS = {"info": "·", "warning": "!", "error": "✗"}


@dataclass(frozen=True)
class Entry:
    """One line of the log. `level`: info, warning or error."""

    step: int
    time: float
    level: str
    words: str


def entries(history: History, look: Look, bad: int = 0, words: str = "") -> tuple[Entry, ...]:
    """The newest entries of a run that hold all of `words`, oldest first, changes in the unit of `look`; `bad` lines of
    its events were none."""
    found = [
        Entry(event["step"], when if is_number(when := event.get("time")) else 0.0, *told)
        for kind in ("eval", *_WORDS)
        for event in history.of(kind)[0 if words else -MOST :]
        for told in _told(kind, event, look)
    ]
    found.sort(key=lambda entry: (entry.step, entry.time))
    if bad:
        lines = "1 line" if bad == 1 else f"{bad} lines"
        found.append(Entry(found[-1].step if found else 0, 0.0, "warning", f"{lines} of events.jsonl are no events"))
    return tuple([entry for entry in found if holds(f"{entry.level} {entry.step} {entry.words}", words)][-MOST:])


def holds(text: str, words: str) -> bool:
    """Whether a text holds every word of a filter, large or small."""
    return all(word in text.lower() for word in words.lower().split())


def tail(path: Path) -> tuple[str, ...]:
    """The last lines of a file, which may be huge, hostile or missing."""
    try:
        with open_plain(path) as file:
            begin = max(os.fstat(file.fileno()).st_size - BYTES, 0)
            file.seek(begin)
            data = file.read(BYTES)
    except OSError:
        return ()
    lines = data.decode("utf-8", "replace").replace("\r", "\n").splitlines()
    kept = [line for line in (lines[1:] if begin and len(lines) > 1 else lines) if line.strip()]
    return tuple(visible_line(line, 400) for line in kept[-LINES:])


def log_text(log: Sequence[Entry], printed: Sequence[str], colors: dict[str, str], words: str, width: int) -> Text:
    """The panel's text in lines of at most `width` columns. `colors` gives "warning" and "error" a style; `words` is
    the filter."""
    text = Text()
    for entry in log:
        clock = time.strftime("%H:%M:%S", time.localtime(entry.time)) if 0 < entry.time < LATEST else " " * 8
        text.append(f"{clock} ", style="dim").append(f"{SIGNS[entry.level]} {entry.step:>4} ")
        text.append(entry.words + "\n", style=colors.get(entry.level, ""))
    if printed:
        text.append("the end of trainer.log\n", style="bold")
        text.append("\n".join(printed))
    if not text.plain:
        text.append("no line holds that" if words else "nothing happened yet", style="dim")
    text.rstrip()
    return wrapped(text, width)


def _told(kind: str, event: dict[str, Any], look: Look) -> Iterator[tuple[str, str]]:
    level = str(event.get("level", "info")) if kind == "note" else "info"
    words = visible_line(_evaluated(event, look) if kind == "eval" else _WORDS[kind](event), 600)
    if kind == "finished" and event.get("state") == "failed":
        level = "error"
    yield (level if level in SIGNS else "info"), words


def _started(event: dict[str, Any]) -> str:
    pairs, held_out = count(event.get("pairs")), count(event.get("held_out"))
    return f"started: {pairs:,} pairs, {held_out:,} held out, {event.get('objective', '')} on {event.get('device', '')}"


def _evaluated(event: dict[str, Any], look: Look) -> str:
    changes = (event.get(replace(look, change=True).key(side)) for side in ("chosen", "rejected"))
    chosen, rejected = (number(change, look.form) for change in changes)
    return (
        f"eval Δchosen {chosen} Δrejected {rejected} "
        f"acc {number(accuracy(event), '.2f')} loss {number(event.get('loss'), '.3f')}"
    )


def _task(event: dict[str, Any]) -> str:
    return f"tasks: {count(event.get('correct'))} of {count(event.get('questions'))} right"


def _benchmark(event: dict[str, Any]) -> str:
    low, high, error = (number(event.get(key), ".4f") for key in ("low", "high", "stderr"))
    sure = f" ({low} to {high})" if is_number(event.get("low")) else f" ± {error}" if error != NONE else ""
    what = " ".join(str(event.get(key, "")) for key in ("name", "metric", "of"))
    data = f", of {event['data']}" if event.get("data") else ""
    return f"{what} {number(event.get('value'), '.4f')}{sure}{data}"


_WORDS = {
    "started": _started,
    "task": _task,
    "benchmark": _benchmark,
    "note": lambda event: str(event.get("text", "")),
    "checkpoint": lambda event: f"checkpoint {event.get('path', '')}",
    "control": lambda event: f"asked: {event.get('command', '')}, {event.get('result', '')}",
    "sample": lambda event: "sample answered",
    "round": round_words,
    "reward": held_out_words,
    "finished": lambda event: f"{event.get('state', '')}: {event.get('reason', '')}",
}
