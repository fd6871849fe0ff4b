"""From a run of rounds to what the five charts show: reward, pass rate, length, KL and entropy."""

import numpy as np

from mio_local.reports.reward_figures import drawn, held_out, spread
from mio_local.runs.history import History
from mio_tui.chart import Curve, Guide
from mio_tui.formatting import count
from mio_tui.live.plots import Look, Plot

REWARD_CHARTS = ("reward", "pass rate", "length", "KL", "entropy")
WAITING = "first point with the first round"
UNTOLD = "the reward does not tell right from wrong"


def reward_plots(history: History, look: Look) -> tuple[Plot, ...]:
    """The plots of `REWARD_CHARTS`, in that order. Each round is a point at the step that it began at."""
    per_token = look.per_token
    told = UNTOLD if history.of("round") else WAITING
    limit = history.recipe.make.answer_tokens
    kl = _made(history, "kl_per_token" if per_token else "kl", "KL")
    return (
        Plot("reward", "", _rewards(history), (), ".2f", empty=WAITING),
        Plot("pass rate", "", _passes(history), (), ".2f", (0, 1), empty=told),
        Plot("length", "tokens", _both(history, "length"), (Guide(limit, "limit", f"{limit}"),), ".1f",
             log=True, empty=WAITING),
        Plot("KL", look.unit, (kl,), (Guide(0, "start"),), look.form, empty=WAITING),
        Plot("entropy", "nats per token", (_made(history, "entropy", "entropy"),), (), ".3f", log=True, empty=WAITING),
    )  # fmt: skip


def _made(history: History, name: str, label: str, dash: bool = False) -> Curve:
    return Curve(label, *drawn(history, name), "plain", dash)


def _both(history: History, name: str) -> tuple[Curve, ...]:
    """Of the answers that are drawn and, above it with marks, of the greedy ones held out."""
    greedy = Curve("held out", *held_out(history, name), "chosen", marks=True)
    made = _made(history, name, "drawn")
    return (made, greedy) if np.isfinite(greedy.y).any() else (made,)


def _rewards(history: History) -> tuple[Curve, ...]:
    x, low, high = spread(history)
    edges = [Curve(name, x, y, "plain", thin=True) for name, y in (("-1 sd", low), ("+1 sd", high))]
    return (*edges, *_both(history, "reward"))


def _passes(history: History) -> tuple[Curve, ...]:
    k = count(history.last("round").get("k"))
    several = _made(history, "pass@k", f"pass@{k or 'k'}", dash=True)
    one, *greedy = _both(history, "pass@1")
    one = Curve("pass@1", one.x, one.y, "plain")
    return (several, one, *greedy) if k != 1 else (one, *greedy)
