"""The three lines at the top: which run in what state, how far it is, and how it goes."""

import math
import time
from typing import Any

from rich.text import Text

from mio_local.objectives.losses import LOSSES
from mio_local.runs.directory import LIVE, Run
from mio_local.runs.history import History, is_number
from mio_local.runs.summary import Verdict, accuracy, note_of
from mio_local.text import visible_line
from mio_tui.formatting import STATES, count, duration, line, number
from mio_tui.live.plots import Look
from mio_tui.live.reading import Reading
from mio_tui.live.rewards.reward_line import SEPARATOR, reward_line

LEAST_BAR, MOST_BAR = 8, 60
LEAST_WORDS = 20  # columns of a verdict's figures
WEEK = 7 * 86400.0  # seconds
LEVELS = {"good": ("✓", "success"), "warning": ("!", "warning"), "bad": ("✗", "error"), "unknown": ("·", "")}


def state_line(
    run: Run, status: dict[str, Any], reading: Reading, history: History | None, color: str, width: int
) -> Text:  # fmt: skip
    """Sign, state, name, and what is trained how; `color` is the state's."""
    state = str(status.get("state", ""))
    sign = STATES.get(state, ("?", ""))[0]
    text = Text.assemble((f" {sign} ", color), line(state.upper(), 20, f"bold {color}"), "  ")
    text.append(line(run.name, style="bold"))
    devices = [f"{reading.machine.devices} devices"] if reading.machine.devices > 1 else []
    for fact in (*_facts(status, history), *devices):
        text.append(" · ").append(line(fact, 60))
    return _cut(text, width)


def progress_line(
    status: dict[str, Any], reading: Reading, now: float, since: float, color: str, width: int
) -> Text:
    """A bar with what is known of the time: of the steps, or before the first one of what is being prepared.

    `since` is when that preparation began, `color` that of the part that is done.
    """
    state, doing = str(status.get("state", "")), str(status.get("doing") or "")
    done, total = count(status.get("done")), count(status.get("total"))
    if state == "queued":
        return _cut(Text(" ").append(line(note_of(status, count(status.get("place"))), 200)), width)
    if state == "starting":
        before = f" {doing or 'starting'}" + (f" {done:,}/{total:,}" if total > 0 else "")
        after = f" {duration(now - since)}"
        return _bar(before, after, done / total if total > 0 else math.nan, color, width)
    before = f" step {reading.step:,}/{reading.total:,}" if reading.total else f" step {reading.step:,}"
    now_of, rounds = reading.round
    before += f" · round {now_of:,} of {rounds:,}" if rounds else f" · round {now_of:,}" if now_of else ""
    share = reading.step / reading.total if reading.total else math.nan
    after = "".join([f" {min(share, 1):.0%}" if math.isfinite(share) else "", *_times(status, reading, now)])
    if doing and state in LIVE:
        after = f" · {doing} {done:,}/{total:,}" if total > 0 else f" · {doing}"
    return _bar(before, after, share, color, width)


def short(status: dict[str, Any], reading: Reading) -> str:
    """Step and time left, for where there is no room for more."""
    words = f"step {reading.step}/{reading.total or '?'}"
    left = reading.pace.left(reading.total - reading.step)
    if status.get("state") == "training" and math.isfinite(left):
        return f"{words} · left {duration(left)}"
    return f"{words} · {status.get('state', '')}"


def figures_line(reading: Reading, look: Look, colors: dict[str, str], width: int) -> Text:
    """The newest held-out figures, or the newest step's where nothing is held out; of rewards where those are shown."""
    if reading.rewards and (reading.made or reading.greedy):
        first, greedy = reading.greedy or ({}, {})
        return reward_line(reading.made, greedy, first, look, width)
    shown = reading.figures
    if not shown:
        return Text("")
    sides = [_side(side, shown, look, colors[side]) for side in ("chosen", "rejected")]
    unit = [sides[0], sides[1] + Text(f" {look.unit}", style="dim")]
    margin = Text(f"margin {number(shown.get('rewards/margins'))}")
    reward = Text("reward ") + margin  # unlike the likelihoods, it is times beta
    rest = [
        Text(f"acc {number(accuracy(shown), '.2f')}"),
        Text(f"loss {number(shown.get('loss'), '.3f')}"),
    ]
    kind = f"held out, step {shown['step']}" if shown.get("type") == "eval" else f"training, step {shown['step']}"
    where = Text(kind, style="dim")
    fits = Text("")
    long = [*unit, reward, *rest]
    for parts in ([*sides, margin, *rest], [*sides, reward, *rest], long, [*long, where]):
        text = Text(" ").append(SEPARATOR.join(parts))
        if not fits.plain or text.cell_len <= width:
            fits = text
    return _cut(fits, width)


def verdict_line(found: Verdict | None, colors: dict[str, str], width: int) -> Text:
    """The verdict in one line, of which the figures are cut before the advice; a sign tells its level as well."""
    if found is None:
        return Text("")
    sign, color = LEVELS[found.level]
    text = Text.assemble((f" {sign} {visible_line(found.kind)}", colors.get(color, "dim")), ": ")
    advice = line(f"; {found.advice}" if found.advice else "")
    words = line(found.words)
    words.truncate(max(width - text.cell_len - advice.cell_len, LEAST_WORDS), overflow="ellipsis")
    return _cut(text.append(words).append(advice), width)


def _facts(status: dict[str, Any], history: History | None) -> list[str]:
    if history is None:
        known = (status.get("loss_name"), status.get("model"))
        return [str(value) for value in known if value]
    recipe = history.recipe
    beta = "" if recipe.loss.name == "sft" else f" β {recipe.loss.beta:g}"
    data = recipe.data.source.rstrip("/").rpartition("/")[2]
    facts = [f"{recipe.loss.name.upper()}{beta}", recipe.model.name.rstrip("/").rpartition("/")[2], data]
    if recipe.loss.reduction != LOSSES[recipe.loss.name].reduction:
        facts[0] += f" by {recipe.loss.reduction}"
    return [*(fact for fact in facts if fact), f"{recipe.lora.kind} r{recipe.lora.rank}"]


def _times(status: dict[str, Any], reading: Reading, now: float) -> list[str]:
    pace = reading.pace
    if not math.isfinite(pace.last):
        return []
    found = [f"  {duration(pace.elapsed)}"]
    if status.get("state") == "training":
        idle = pace.idle(now)
        left = pace.left(reading.total - reading.step)
        found.append(f" · last step {duration(idle)} ago" if idle else f" · left {duration(left)}{_done_at(now, left)}")
    return found


def _done_at(now: float, left: float) -> str:
    """The clock at the end, as ` (done 15:21)`; with its day where that is another, nothing where that is far off."""
    if not 0 <= left < WEEK:
        return ""
    then = time.localtime(now + left)
    same = then[:3] == time.localtime(now)[:3]
    return time.strftime(" (done %H:%M)" if same else " (done %a %H:%M)", then)


def _bar(before: str, after: str, share: float, color: str, width: int) -> Text:
    """The bar takes the room between the words; a share that is not known draws none."""
    head, tail = line(before, style=""), line(after)
    head = Text(" ") + head
    room = min(width - head.cell_len - tail.cell_len - 3, MOST_BAR)
    if math.isfinite(share) and room >= LEAST_BAR:
        halves = round(min(max(share, 0.0), 1.0) * room * 2)
        full = "━" * (halves // 2) + "╸" * (halves % 2)
        head.append(" ").append(full, style=color).append("─" * (room - len(full)), style="dim")
    return _cut(head.append(" ").append(tail), width)


def _side(side: str, shown: dict[str, Any], look: Look, color: str) -> Text:
    """`Δchosen +2.16`, as the list of runs and the log say it; or `chosen -118.14 ▲+2.16`."""
    suffix = "_per_token" if look.per_token else ""
    value, change = shown.get(f"logps/{side}{suffix}"), shown.get(f"delta/{side}{suffix}")
    if look.change:
        return Text.assemble((f"Δ{side} ", color), (number(change, look.form), "bold"))
    arrow = ("▲" if change > 0 else "▼" if change < 0 else "=") if is_number(change) else ""
    absolute = number(value, look.form.removeprefix("+"))
    return Text.assemble((f"{side} ", color), f"{absolute} ", (f"{arrow}{number(change, look.form)}", "bold"))


def _cut(text: Text, width: int) -> Text:
    text.truncate(max(width, 1), overflow="ellipsis")
    return text
