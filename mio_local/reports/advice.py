"""What to change in a run, by flags and values; and how rates and nats are written."""

from mio_local.objectives.losses import LOSSES
from mio_local.recipe import Recipe, TrainSettings

HIGH = 1e-3  # the highest rate that a shipped recipe trains at
STEP = 3  # a rate is changed by about half a power of ten
STILL = 0.005  # nats an answer: what moved less needs more than one such step


def much_slower(recipe: Recipe) -> str:
    """The rate for one that diverged."""
    return f"try --learning-rate {_lower(recipe, 10)}"


def _lower(recipe: Recipe, by: float) -> str:
    return shown_rate(min(recipe.train.learning_rate / by, HIGH))


def slower(recipe: Recipe) -> str:
    """A lower rate and, for an objective that ties the chosen answers to nothing, one that does."""
    loss = LOSSES[recipe.loss.name]
    other = "" if loss.target(recipe.loss.beta) is not None or not loss.rejected else " or --loss mio"
    return f"try --learning-rate {_lower(recipe, STEP)}{other}"


def faster(recipe: Recipe, size: float) -> str:
    """A higher rate: for what moved next to nothing the default, where that is higher."""
    rate = recipe.train.learning_rate
    default = TrainSettings().learning_rate
    return f"try --learning-rate {shown_rate(rate * STEP if size > STILL else max(rate * 10, default))}"


def earlier(recipe: Recipe, best: int) -> str:
    """To stop where the held-out loss was best; where that was before the start, to learn less from each pair."""
    if not best:
        return f"try more pairs, or --learning-rate {_lower(recipe, STEP)}"
    kept = " or --checkpoint best" if recipe.eval.metric == "loss" else ""
    return f"use --steps {best}{kept}"


def shown(value: float) -> str:
    """Nats in two digits or so."""
    size = abs(value)
    return f"{value:+.{0 if size >= 9.95 else 1 if size >= 0.95 else 2}f}" if size < 1e5 else f"{value:+.1e}"


def shown_rate(rate: float) -> str:
    """A learning rate of one digit, as it is typed."""
    digit, _, power = f"{rate:.0e}".partition("e")
    return f"{float(digit) * 10 ** int(power):g}" if -2 <= int(power) < 3 else f"{digit}e{int(power)}"
