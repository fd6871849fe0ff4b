"""The lines under the header that are only there when there is something to say: requests, reasons, what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from mio_local.process import program
from mio_local.runs.directory import Run, called
from mio_local.runs.history import History
from mio_local.text import visible_line
from mio_tui.formatting import count
from mio_tui.live.log import SIGNS
from mio_tui.live.pending_requests import DOING, Requests
from mio_tui.live.reading import Reading

MEMORY_WORDS = (
    "out of memory", "malloc", "unable to allocate", "cannot allocate", "memoryerror", "insufficient memory",
)  # fmt: skip
LONGEST = 500


@dataclass(frozen=True)
class Notice:
    """One thing to say. `level`: info, warning or error."""

    level: str
    words: str


def notice_text(found: Sequence[Notice], colors: dict[str, str]) -> Text:
    """The notices, one under the other; `colors` gives each level but info a style, and its sign tells it as well."""
    rows = [
        Text(f"{SIGNS[notice.level]} " if notice.level != "info" else "", style=colors.get(notice.level, "")).append(
            visible_line(notice.words, LONGEST)
        )
        for notice in found
    ]
    return Text("\n").join(rows)


def notices(run: Run, status: dict[str, Any], reading: Reading, history: History | None, requests: Requests,
            trouble: str, frozen: bool) -> list[Notice]:  # fmt: skip
    """Everything that is to be said now, the most pressing first."""
    found = [*_requested(requests, status, reading), *_state(run, status, reading, history)]
    if trouble and trouble not in str(status.get("reason", "")):
        found.append(Notice("error", f"{trouble}; its curves cannot be drawn"))
    judged = reading.verdict is not None and reading.verdict.level in ("warning", "bad")
    if reading.note and not (judged and reading.note.get("code") == "below"):  # which the verdict says, and more
        level = str(reading.note.get("level"))
        found.append(Notice(level, f"step {reading.note['step']}: {reading.note.get('text', '')}"[:LONGEST]))
    if frozen:
        found.append(Notice("info", "‖ the display is frozen, the run is not; f goes on"))
    return found


def _requested(requests: Requests, status: dict[str, Any], reading: Reading) -> list[Notice]:
    found = [Notice("info", f"{DOING[command]}… {_after(command, status, reading)}") for command in _asked(requests)]
    if found and requests.overdue:
        words = f"{found[0].words}; no answer for {requests.overdue:.0f} s"
        stop = "x again offers to force it" if "stop" in _asked(requests) else "x offers to stop it"
        found[0] = Notice("warning", f"{words} · {stop}")
    if requests.said:
        found.append(Notice("error", requests.said) if requests.trouble else Notice("info", f"✓ {requests.said}"))
    return found


def _asked(requests: Requests) -> list[str]:
    return [asked.command for asked in requests.waiting][-3:]


def _after(command: str, status: dict[str, Any], reading: Reading) -> str:
    """What the trainer does before it looks at requests."""
    if status.get("state") == "paused":
        return ""
    if status.get("state") == "starting":
        return "when it has started" if command != "stop" else "when this part is prepared"
    if doing := status.get("doing"):
        done, total = count(status.get("done")), count(status.get("total"))
        return f"after {doing}" + (f" {done}/{total}" if total else "")
    return f"finishing step {reading.step + 1}"


def _state(run: Run, status: dict[str, Any], reading: Reading, history: History | None) -> list[Notice]:
    state, reason = str(status.get("state", "")), str(status.get("reason") or "")[:LONGEST]
    resume = f"r Resume from {_from(reading)}"
    if state == "failed":
        advice = [Notice("info", words)] if (words := memory_advice(reason, history)) else []
        return [Notice("error", f"{reason or 'it ended with an error'}"), *advice, Notice("info", f"{resume} · 8 Log")]
    if state == "lost":
        if not run.path.exists():
            return [Notice("warning", "its folder is gone: deleted or moved")]
        return [Notice("warning", f"its process is gone: killed, reboot or power loss · {resume} · 8 Log")]
    if state == "stopped":
        return [Notice("info", f"{reason or 'stopped'} · {resume}")]
    if state == "done":
        adapter = f"adapter: {reading.adapter}" if reading.adapter else "no adapter on disk"
        return [
            Notice("info", f"{reason or 'done'} · {adapter}"),
            Notice("info", f"Next: c Compare with another run · {visible_line(program())} show {called(run)}"),
        ]
    if state == "damaged":
        return [Notice("error", f"{reason or 'its files cannot be read'}")]
    if state == "queued":
        return [Notice("info", "r Start it now, beside the run that it waits for")]
    if state == "paused":
        return [Notice("info", "paused with the model in memory · p goes on")]
    return []


def _from(reading: Reading) -> str:
    return f"checkpoint step {reading.checkpoint}" if reading.checkpoint else "the start, as there is no checkpoint"


def memory_advice(reason: str, history: History | None) -> str:
    """What a run that ran out of memory could do with less of; empty for other reasons."""
    if history is None or not any(words in reason.lower() for words in MEMORY_WORDS):
        return ""
    train, tokens = history.recipe.train, history.recipe.data.max_tokens
    ways: list[str] = []
    if isinstance(train.batch_tokens, int) and train.batch_tokens > 1:
        ways.append(f"batch tokens {train.batch_tokens} → {train.batch_tokens // 2}")
    elif train.batch_size > 1:
        less = train.batch_size // 2
        ways.append(f"batch {train.batch_size} → {less} with accumulate {train.accumulate} → {train.accumulate * 2}")
    if not train.grad_checkpoint:
        ways.append("gradient checkpointing")
    ways.append(f"max tokens {tokens} → {max(tokens // 2, 8)}")
    return f"A new run needs less memory with: {' · '.join(ways)}"
