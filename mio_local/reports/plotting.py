"""The curves of one or several runs as a picture.

Chosen is blue and solid, rejected orange and dashed (Okabe-Ito, told apart without colour vision); several runs differ
by shade and marker. Held-out curves are drawn; the training batches' own are the thin lines behind them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mio_local.objectives.losses import answer_target
from mio_local.reports import reward_figures
from mio_local.runs.events import is_number
from mio_local.runs.history import History
from mio_local.storage.writing import beside, mode_in

CHOSEN, REJECTED, TARGET = "#0072B2", "#D55E00", "#009E73"
RUN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SIDES = ("chosen", "rejected")
MARKERS = ("o", "s", "^", "D", "v", "P")


def draw(histories: Sequence[History], out: Path) -> None:
    """Write the figure to `out`, by its suffix; beside it first, then renamed. Several runs get a column each for the
    likelihoods, on one shared axis, so that they can be compared by eye."""
    import os

    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    made = [history for history in histories if history.of("round") or history.of("reward")]
    size = max(10.0, 5.2 * len(histories)), 11.2 if made else 7.2
    figure: Any = plt.figure(figsize=size, layout="constrained")
    top, bottom, *lowest = figure.subfigures(2 + bool(made), 1, height_ratios=[3, 2, 3] if made else [3, 2])
    panels = top.subplots(1, len(histories), sharey=True, squeeze=False)[0]
    for axis, history in zip(panels, histories, strict=True):
        _likelihoods(axis, history)
    panels[0].set_ylabel("log-prob against the start, nats per answer")
    margin, accuracy, loss = bottom.subplots(1, 3)
    for number, history in enumerate(histories):
        style = {"color": RUN_COLOURS[number % 6], "marker": MARKERS[number % 6], "markersize": 3, "linewidth": 1.4}
        _compare(margin, history, "margin", style)
        _compare(accuracy, history, "rewards/accuracies", style)
        _compare(loss, history, "loss", style)
        for axis, key in ((accuracy, "rewards/accuracies"), (loss, "loss")):
            _interval(axis, history, key, style)
    for axis, title in ((margin, "margin, nats"), (accuracy, "preference accuracy"), (loss, "loss, held out")):
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)
    accuracy.set_ylim(0, 1)
    if len(histories) > 1 or not histories[0].of("eval"):
        margin.legend(fontsize=8, frameon=False)
    for panel in lowest:
        _rewards(panel, histories)
    written = beside(out)
    try:
        written.touch(mode_in(out.parent))
        figure.savefig(written, dpi=130, format=out.suffix.removeprefix(".") or None)
        os.replace(written, out)
    finally:
        written.unlink(missing_ok=True)
        plt.close(figure)


def _rewards(panel: Any, histories: Sequence[History]) -> None:
    """What the rounds drew as lines, the reward with its spread; greedy answers to held-out prompts as points."""
    names = [name for name in reward_figures.FIGURES if name != "kl_per_token"]
    for axis, name in zip(panel.subplots(2, 3).flat, names, strict=True):
        for number, history in enumerate(histories):
            colour, marker = RUN_COLOURS[number % 6], MARKERS[number % 6]
            axis.plot(*reward_figures.drawn(history, name), color=colour, linewidth=1, label=_plain(history.run.name))
            axis.plot(*reward_figures.held_out(history, name), color=colour, linewidth=2, marker=marker, markersize=4)
            if name == "reward":
                steps, low, high = reward_figures.spread(history)
                axis.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)
        if name.startswith("pass"):
            axis.set_ylim(0, 1)
        axis.set_title(reward_figures.FIGURES[name].title, fontsize=9)
        axis.set_xlabel("step (thin: drawn in a round, thick: greedy, held out)", fontsize=7)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)


def _likelihoods(axis: Any, history: History) -> None:
    """Chosen and rejected log-prob as change from the start, with MIO's target."""
    loss = history.recipe.loss
    for key, colour, dash, name in (
        ("delta/chosen", CHOSEN, "-", "chosen"),
        ("delta/rejected", REJECTED, "--", "rejected"),
    ):
        steps, values = history.series("step", key)
        axis.plot(steps, values, dash, color=colour, alpha=0.3, linewidth=0.8)
        if history.of("eval"):
            steps, values = history.series("eval", key)
            axis.plot(steps, values, dash, color=colour, linewidth=2, marker="o", markersize=3)
        if values:
            axis.annotate(f" {name} {values[-1]:+.1f}", (steps[-1], values[-1]), color=colour, fontsize=8, va="center")
    axis.axhline(0, color="0.4", linewidth=0.8)
    target = answer_target(loss.name, loss.beta, loss.reduction)
    if target is not None:
        axis.axhline(target, color=TARGET, linewidth=1, linestyle=":")
        axis.annotate(
            f"target ln 2 / beta = {target:+.1f}", (0, target), color=TARGET, fontsize=8, va="bottom", ha="left"
        )
    axis.set_title(_plain(f"{history.run.name}: {loss.name}, beta {loss.beta:g}"), fontsize=10)
    axis.set_xlabel("step (thin: training batches, thick: held out)", fontsize=8)
    last = max((event["step"] for kind in ("step", "eval") for event in history.of(kind)), default=1)
    axis.set_xlim(0, 1.25 * max(1, last))  # room for the labels at the lines' ends
    axis.grid(alpha=0.25)


def _compare(axis: Any, history: History, key: str, style: dict[str, Any]) -> None:
    kind = "eval" if history.of("eval") else "step"
    if kind == "step":
        style = {**style, "marker": ""}
    if key == "margin":
        chosen, rejected = (dict(zip(*history.series(kind, f"delta/{side}"), strict=True)) for side in SIDES)
        steps = [step for step in chosen if step in rejected]
        values = [chosen[step] - rejected[step] for step in steps]
    else:
        steps, values = history.series(kind, key)
    label = _plain(history.run.name) + (" (training batches)" if kind == "step" else "")
    axis.plot(steps, values, label=label, **style)


def _interval(axis: Any, history: History, key: str, style: dict[str, Any]) -> None:
    """What `mio-local eval` found of the held-out pairs, with its interval."""
    for event in history.benchmarks():
        ends: list[Any] = [event.get("value"), event.get("low"), event.get("high")]
        mine = event.get("name") == "preference" and not event.get("data")
        if mine and event.get("metric") == key and all(map(is_number, ends)):
            value, low, high = ends
            axis.errorbar([event["step"]], [value], [[value - low], [high - value]], capsize=4, color=style["color"])


def _plain(text: str) -> str:
    """Text that matplotlib will not read as mathematics."""
    return text.replace("$", r"\$")
