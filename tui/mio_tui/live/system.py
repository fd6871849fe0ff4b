"""The system panel: how fast, how much memory, and the figures that no curve is drawn of."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.text import Text

from mio_local.runs.fields import device_of, text
from mio_local.runs.history import History, is_number
from mio_tui import formatting as words
from mio_tui.formatting import NONE, count, number
from mio_tui.live.sample import wrapped

BARS = "▁▂▃▄▅▆▇█"
MOST = 120  # points of the memory's history
RECENT = 20  # steps that a speed is the mean of


@dataclass(frozen=True)
class Machine:
    """Speeds a second, memory in bytes, the rest as in the events; NaN where a figure is missing."""

    tokens: float = math.nan
    steps: float = math.nan
    pairs: float = math.nan
    memory: float = math.nan
    peak: float = math.nan
    estimate: float = math.nan
    history: tuple[float, ...] = ()  # of memory, evenly over the run
    rate: float = math.nan
    norm: float = math.nan
    epoch: float = math.nan
    truncated: int = 0
    skipped: int = 0
    train_pairs: int = 0
    trainable: int = 0
    device: str = ""
    devices: int = 1
    checkpoint: int = 0


def machine(history: History, told: dict[str, Any], checkpoint: int) -> Machine:
    """The newest figures of a run. `told` is run.json and status.json, which may hold an estimate of the memory."""
    step, started = history.last("step"), history.last("started")
    return Machine(
        tokens=_speed(history, "perf/tokens_per_second"),
        steps=_speed(history),
        pairs=_speed(history, "perf/pairs_per_second"),
        memory=_figure(step, "perf/memory_active"),
        peak=_figure(step, "perf/memory_peak"),
        estimate=_figure(told, "memory_estimate"),
        history=_memory(history),
        rate=_figure(step, "learning_rate"),
        norm=_figure(step, "grad_norm"),
        epoch=_figure(step, "epoch"),
        truncated=count(started.get("truncated")),
        skipped=count(started.get("skipped")),
        train_pairs=count(started.get("pairs")),
        trainable=count(started.get("trainable")),
        device=" · ".join(filter(None, (device_of(told, text(started.get("device"))), text(started.get("backend"))))),
        devices=count(told.get("devices"), history.recipe.backend.devices),  # the last session's
        checkpoint=checkpoint,
    )


def system_text(shown: Machine, width: int) -> Text:
    """The panel's lines, for a panel of that many columns: what changes comes first, as a small panel shows it."""
    memory = f"memory {_size(shown.memory)} now · {_size(shown.peak)} peak"
    bars = sparkline(shown.history, max(min(len(shown.history), width - len(memory) - 1), 0))
    lines = [
        f"{_thousands(shown.tokens)} tok/s · {number(shown.steps, '.2f')} step/s · {number(shown.pairs, '.1f')} pair/s",
        f"{memory} {bars}",
        f"lr {number(shown.rate, '.1e')} · grad {number(shown.norm, '.2f')} · epoch {number(shown.epoch, '.2f')}",
    ]
    if math.isfinite(shown.estimate):
        lines.append(_against(shown.estimate, shown.peak))
    lines.append(f"{_share(shown.truncated, shown.train_pairs)} truncated · {shown.skipped:,} skipped")
    lines.append(f"checkpoint at step {shown.checkpoint:,}" if shown.checkpoint else "no checkpoint yet")
    if shown.trainable:
        lines.append(f"LoRA of {shown.trainable:,} weights")
    if shown.device:
        lines.append(shown.device)
    return wrapped(Text("\n").join(words.line(what) for what in lines), width)


def sparkline(values: tuple[float, ...], width: int) -> str:
    """At most `width` bars, from nothing to the highest value; a gap where a value is missing."""
    shown = _thinned(np.array(values), width) if width > 0 else ()
    highest = max((value for value in shown if math.isfinite(value)), default=0.0)
    if highest <= 0:
        return ""
    return "".join(
        BARS[min(max(int(value / highest * len(BARS)), 0), len(BARS) - 1)] if math.isfinite(value) else " "
        for value in shown
    )


def _thinned(values: np.ndarray, most: int) -> tuple[float, ...]:
    """The highest of each of `most` equal parts."""
    if values.size <= most:
        return tuple(values.tolist())
    parts = np.array_split(np.where(np.isfinite(values), values, -np.inf), most)
    highest = [float(part.max()) for part in parts]
    return tuple(value if math.isfinite(value) else math.nan for value in highest)


def _memory(history: History) -> tuple[float, ...]:
    """Of every so-manieth step, as a long run has more of them than bars can be drawn."""
    steps = history.of("step")
    return tuple(_figure(step, "perf/memory_active") for step in steps[:: len(steps) // MOST + 1])


def _speed(history: History, key: str = "") -> float:
    """How much of it the last steps did, or how many they were, by the seconds that they took."""
    done = spent = 0.0
    for step in history.of("step")[-RECENT:]:
        seconds, rate = step.get("perf/seconds"), step.get(key)
        if is_number(seconds) and seconds > 0 and (not key or is_number(rate)):
            done += rate * seconds if is_number(rate) else 1
            spent += seconds
    return done / spent if spent else math.nan


def _figure(event: dict[str, Any], key: str) -> float:
    value = event.get(key)
    return float(value) if is_number(value) else math.nan


def _size(value: float) -> str:
    return words.size(value) if math.isfinite(value) else NONE


def _thousands(value: float) -> str:
    if not math.isfinite(value):
        return NONE
    return f"{value / 1000:.1f}k" if value >= 1000 else f"{value:.0f}"


def _share(some: int, whole: int) -> str:
    return f"{some:,} ({some / whole:.1%})" if whole else f"{some:,}"


def _against(estimate: float, peak: float) -> str:
    """What was estimated, and how far the measured peak is from it."""
    if not (math.isfinite(peak) and peak > 0):
        return f"{_size(estimate)} estimated"
    return f"{_size(estimate)} estimated, {(peak / estimate - 1):+.0%} measured" if estimate > 0 else ""
