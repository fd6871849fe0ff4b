"""From a history to what the five charts show. Runs in a thread, as a long run has much to read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mio_local.objectives.losses import LOSSES
from mio_local.runs.history import History, is_number
from mio_tui.chart import Curve, Guide
from mio_tui.chart.axes import Range, value_text
from mio_tui.chart.curve import smoothed

# in the order in which `plots` gives them; one more is a name here, and a Plot there
CHARTS = ("likelihood", "margin", "accuracy", "loss", "information")


@dataclass(frozen=True)
class Look:
    """How the likelihoods are looked at: as change from the start or absolute, per token or per answer; and of a run of
    rounds, whether the figures of its pairs rather than its rewards."""

    change: bool = True
    per_token: bool = False
    pairs: bool = False

    def key(self, side: str) -> str:
        """The events' name of a side."""
        return f"{'delta' if self.change else 'logps'}/{side}{'_per_token' if self.per_token else ''}"

    @property
    def unit(self) -> str:
        """What the likelihoods are counted in."""
        return f"nats per {'token' if self.per_token else 'answer'}"

    @property
    def form(self) -> str:
        """How a likelihood or its change is written."""
        return "+.3f" if self.per_token else "+.2f"


@dataclass(frozen=True)
class Plot:
    """What one chart shows. `unit` is what its values are counted in, "" for none; `log` whether powers of ten make
    sense: other figures are negative or go from 0 to 1; `empty` is said where there is no point, for its own reason."""

    title: str
    unit: str = ""
    curves: tuple[Curve, ...] = ()
    guides: tuple[Guide, ...] = ()
    form: str = "+.2f"
    fixed: Range | None = None
    log: bool = False
    empty: str = ""

    def told(self, smoothing: int) -> list[tuple[Curve, str]]:
        """Each curve that has a label with its newest value, as it is drawn, the one on top first."""
        found: list[tuple[Curve, str]] = []
        for curve in reversed(self.curves):
            y = curve.y if curve.marks else smoothed(curve.y, smoothing)
            if not curve.thin and (seen := y[np.isfinite(y)]).size:
                found.append((curve, value_text(float(seen[-1]), self.form)))
        return found


def plots(history: History | None, look: Look) -> tuple[Plot, ...]:
    """The plots of `CHARTS`, in that order; without a history they are empty."""
    return (
        likelihood(history, look),
        Plot("reward margin", "", _single(history, "rewards/margins"), (Guide(0, "start"),)),
        Plot("accuracy", "", _single(history, "rewards/accuracies"), (Guide(0.5, "chance"),), ".2f", (0, 1)),
        Plot("loss", "", _single(history, "loss"), _start(history), ".3f", log=True),
        Plot("info", "nats", _information(history), (), ".3f", log=True),
    )


def likelihood(history: History | None, look: Look) -> Plot:
    """The first of them."""
    unit = f"Δ {look.unit}" if look.change else look.unit
    return Plot("likelihood", unit, _likelihoods(history, look), _lines(history, look), look.form)


def target(history: History, look: Look) -> float | None:
    """The change of chosen that the objective draws to, in the unit looked at; None where that is not exactly known.

    A target is for the log-ratio in the loss's own reduction. For "sum" the mean per token over answers of different
    lengths is the target times the mean of 1 / tokens, which the trainer wrote down.
    """
    loss = history.recipe.loss
    nats = LOSSES[loss.name].target(loss.beta)
    if nats is None or look.per_token == (loss.reduction == "mean"):
        return nats
    inverse = history.last("started").get("inverse_tokens")
    return nats * inverse if loss.reduction == "sum" and is_number(inverse) else None


def _curve(history: History, kind: str, key: str, name: str, color: str, dash: bool, behind: bool) -> Curve:
    x, y = history.column(kind, key)
    return Curve(name, x, y, color, dash, thin=behind, marks=kind == "eval")


def _pair(history: History, key: str, name: str, color: str = "plain", dash: bool = False) -> list[Curve]:
    """The training batches' curve behind the held-out one; alone, while nothing held out was scored after step 0."""
    held_out = _curve(history, "eval", key, name, color, dash, behind=False)
    scored = held_out.x[np.isfinite(held_out.y)]
    behind = bool(scored.size and (scored[-1] > 0 or not history.of("step")))
    if behind:
        name = "train" if name == "eval" else f"{name} train"
    training = _curve(history, "step", key, name, color, dash, behind)
    return [training, held_out] if behind else [training]


def _likelihoods(history: History | None, look: Look) -> tuple[Curve, ...]:
    if history is None:
        return ()
    rejected = _pair(history, look.key("rejected"), "rejected", "rejected", dash=True)
    chosen = _pair(history, look.key("chosen"), "chosen", "chosen")
    # the crosshair reads them from the last to the first: what is held out before what is trained on
    return (*rejected[:-1], *chosen[:-1], rejected[-1], chosen[-1])


def _single(history: History | None, key: str) -> tuple[Curve, ...]:
    if history is None:
        return ()
    return tuple(_pair(history, key, "eval" if history.of("eval") else "train"))


def _information(history: History | None) -> tuple[Curve, ...]:
    if history is None:
        return ()
    nce = _pair(history, "mi/nce", "NCE", "c") if _is_of_groups(history) else []
    return (*nce, *_pair(history, "mi/dv", "DV", dash=True), *_pair(history, "mi/js", "JS"))


def _is_of_groups(history: History) -> bool:
    """Whether an answer has several rejected ones beside it: with one, mi/nce is mi/dv."""
    for kind in ("eval", "step"):
        nce, dv = (history.column(kind, f"mi/{name}")[1] for name in ("nce", "dv"))
        both = np.isfinite(nce) & np.isfinite(dv)
        if not np.allclose(nce[both], dv[both], rtol=1e-4, atol=1e-6):
            return True
    return False


def _lines(history: History | None, look: Look) -> tuple[Guide, ...]:
    """Where the likelihoods began, and where the objective draws the chosen one to."""
    if history is None:
        return (Guide(0, "start"),) if look.change else ()
    begin = {side: 0.0 if look.change else _first(history, look.key(side)) for side in ("chosen", "rejected")}
    found = [Guide(y, "start") for y in dict.fromkeys(begin.values()) if math.isfinite(y)]
    if (goal := target(history, look)) is not None and math.isfinite(begin["chosen"]):
        y = begin["chosen"] + goal
        found.append(Guide(y, "target", value_text(y, look.form)))
    return tuple(found)


def _first(history: History, key: str) -> float:
    """The held-out value before the first step; NaN where none was taken."""
    first: Sequence[dict[str, object]] = history.of("eval")[:1]
    value = first[0].get(key) if first and first[0]["step"] == 0 else None
    return value if is_number(value) else math.nan


def _start(history: History | None) -> tuple[Guide, ...]:
    if history is None:
        return ()
    loss = history.recipe.loss
    value = LOSSES[loss.name].start(loss.beta)
    return () if value is None else (Guide(value, "start", f"{value:.3f}"),)
