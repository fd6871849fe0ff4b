"""From histories to the curves of the two panels. Runs in a thread, as a long run has much to read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from mio_local.objectives.losses import LOSSES
from mio_local.reports import reward_figures
from mio_local.runs.history import History
from mio_tui.chart import Curve, Guide
from mio_tui.chart.axes import Range, XKind, bounds, y_range
from mio_tui.chart.curve import smoothed
from mio_tui.compare.members import Member

METRICS = ("likelihood", "margin", "loss")
OF_REWARDS = {"reward": ("reward", "pass@1"), "length": ("length", "pass@k"), "KL": ("kl", "entropy")}
AXES: tuple[XKind, ...] = ("step", "tokens", "time")
MARGIN = "margin"  # no figure of its own: the change of chosen less that of rejected, in nats

T = TypeVar("T")


def after(values: Sequence[T], now: T) -> T:
    """The value that follows, the first after the last."""
    return values[(values.index(now) + 1) % len(values)]


@dataclass(frozen=True)
class View:
    """How the comparison is looked at."""

    metric: str = "likelihood"
    change: bool = True  # from the start, else absolute log-probs
    per_token: bool = False  # else per answer
    axis: XKind = "step"
    training: bool = True  # the training batches thin behind the held-out curves
    smoothing: int = 25
    rewards_smoothing: int = 0  # a round is the mean of many answers already
    names: bool = True  # in the labels, beside the letters

    def key(self, figure: str) -> str:
        """The events' name of chosen, rejected or margin as it is looked at."""
        if figure not in ("chosen", "rejected"):
            return figure
        return f"{'delta' if self.change else 'logps'}/{figure}{'_per_token' if self.per_token else ''}"

    @property
    def smooth(self) -> int:
        """The smoothing of what is looked at, in points."""
        return self.rewards_smoothing if self.metric in OF_REWARDS else self.smoothing

    @property
    def unit(self) -> str:
        """What chosen, rejected and margin are counted in."""
        return f"nats per {'token' if self.per_token else 'answer'}"


@dataclass(frozen=True)
class Panel:
    """What one chart shows."""

    title: str
    curves: tuple[Curve, ...]
    guides: tuple[Guide, ...] = ()
    y_format: str = "+.2f"
    y_fixed: Range | None = None
    log: bool = False  # whether a log axis makes sense


def metrics(members: Sequence[Member]) -> tuple[str, ...]:
    """What the panels can show: rewards too, where a run that is read makes its own answers."""
    read = [member.watched.history for member in members]
    rewards = any(history is not None and reward_figures.has_rewards(history) for history in read)
    return (*METRICS, *OF_REWARDS) if rewards else METRICS


def panels(view: View, members: Sequence[Member], held: Range | None = None) -> tuple[Panel, Panel]:
    """The two panels; in the likelihood view on one y range, which grows from `held`."""
    drawn = [member for member in members if member.drawn]
    if view.metric in OF_REWARDS:
        left, right = (_reward_panel(view, drawn, name) for name in OF_REWARDS[view.metric])
        return left, right
    if view.metric == "margin":
        left = _panel(view, drawn, MARGIN, f"margin · Δ {view.unit}", _form(view), (Guide(0, "start"),))
        right = _panel(view, drawn, "rewards/accuracies", "accuracy", ".2f", (Guide(0.5, "chance"),), (0, 1))
        return left, right
    if view.metric == "loss":
        left = _panel(view, drawn, "loss", "loss · each objective's own", ".3f", _starts(drawn), log=True)
        return left, _panel(view, drawn, "mi/js", "information (JS) · nats", ".3f", log=True)
    kind = "Δ " if view.change else ""
    guides = (Guide(0, "start"),) if view.change else ()
    left, right = (
        _panel(view, drawn, side, f"{side} · {kind}{view.unit}", _form(view), guides) for side in ("chosen", "rejected")
    )
    curves = [*left.curves, *right.curves]
    seen = [curve.y if curve.marks else smoothed(curve.y, view.smooth) for curve in curves]
    data = bounds([*seen, *([np.zeros(1)] if guides else [])])
    shared = y_range(held, *data) if data else None
    return replace(left, y_fixed=shared), replace(right, y_fixed=shared)


def column(history: History, kind: str, figure: str, view: View) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of one figure of one run as it is looked at; margin is of changes, whatever the view shows. Of a run of
    rounds "step" is what a round drew, and "eval" the greedy answers to held-out prompts."""
    if figure in reward_figures.FIGURES:
        of = reward_figures.held_out if kind == "eval" else reward_figures.drawn
        return of(history, figure, view.axis)
    if figure != MARGIN:
        return history.column(kind, view.key(figure), view.axis)
    suffix = "_per_token" if view.per_token else ""
    x, chosen = history.column(kind, f"delta/chosen{suffix}", view.axis)
    return x, chosen - history.column(kind, f"delta/rejected{suffix}", view.axis)[1]


def _panel(
    view: View, drawn: Sequence[Member], figure: str, title: str, form: str, guides: tuple[Guide, ...] = (),
    y_fixed: Range | None = None, log: bool = False,
) -> Panel:  # fmt: skip
    curves = [curve for member in reversed(drawn) for curve in _curves(view, member, figure)]
    return Panel(title, tuple(curves), guides, form, y_fixed, log)


def _reward_panel(view: View, drawn: Sequence[Member], name: str) -> Panel:
    """Of the answers that were drawn and, with marks, of the greedy ones held out."""
    name = "kl_per_token" if name == "kl" and view.per_token else name
    figure = reward_figures.FIGURES[name]
    start = (Guide(0, "start"),) if name.startswith("kl") else ()
    fixed = (0.0, 1.0) if name.startswith("pass") else None
    return _panel(view, drawn, name, figure.title, figure.form, start, fixed, log=name in ("length", "entropy"))


def _curves(view: View, member: Member, figure: str) -> list[Curve]:
    """The held-out curve before the thin one of training; without evaluations that one is the curve."""
    history = member.watched.past
    label = f"{member.letter} {member.name}" if view.names else member.letter
    x, y = column(history, "eval", figure, view)
    held_out = bool(np.isfinite(y).any())
    found = [Curve(label, x, y, member.color, member.dash, marks=True)] if held_out else []
    if not held_out or view.training:
        x, y = column(history, "step", figure, view)
        word = "drawn" if figure in reward_figures.FIGURES else "training"
        name = f"{member.letter} {word}" if held_out else label
        found.append(Curve(name, x, y, member.color, member.dash, thin=held_out))
    return found


def _starts(drawn: Sequence[Member]) -> tuple[Guide, ...]:
    """What each objective's loss is before the first step, where that is known."""
    found: dict[float, list[str]] = {}
    for member in drawn:
        loss = member.watched.past.recipe.loss
        start = LOSSES[loss.name].start(loss.beta)
        if start is not None:
            found.setdefault(start, []).append(member.letter)
    return tuple(Guide(start, f"{' '.join(letters)} start") for start, letters in found.items())


def _form(view: View) -> str:
    return "+.3f" if view.per_token else "+.2f"

