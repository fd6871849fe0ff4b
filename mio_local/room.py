"""Whether the longest pairs fit into memory, told before hours are lost: by the estimate, then by a step that leaves no
trace."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mio_local.backend import Model
from mio_local.batching import collate
from mio_local.chat import Example
from mio_local.errors import MioError, RecipeError, is_out_of_memory, one_line
from mio_local.fitting import allowed, remedy
from mio_local.losses import objective
from mio_local.memory import estimate
from mio_local.recipe import Recipe
from mio_local.shapes import Shape, read_shape

TOLERANCE = 1.25  # an estimate this much above a limit is believed; below, the step is tried and measured
SPARE = 0.8  # of the estimate: what a change must bring it to where memory ran out though the estimate fits
SEVERAL = "no single change is enough: take a smaller model, --quantize 4, or --batch-size 1 with --grad-checkpoint"


@dataclass(frozen=True)
class Room:
    """A run and the device it is for: `backend` by name, `kind` gpu or cpu, `place` the model's folder."""

    recipe: Recipe
    backend: str
    kind: str
    place: Path
    examples: Sequence[Example]

    @property
    def bound(self) -> str:
        """The recipe's memory limit: auto, none, or GB."""
        return self.recipe.backend.memory_limit

    @cached_property
    def shape(self) -> Shape | None:
        """The model's shape; None where its config does not tell."""
        try:
            return read_shape(self.place)
        except (MioError, OSError):
            return None

    @cached_property
    def lengths(self) -> tuple[int, int]:
        """Tokens of the longest prompt and answer, and of the longest prompt with both."""
        return longest(self.examples)

    @cached_property
    def needed(self) -> int:
        """Bytes that the run is estimated to take at its peak, 0 where that is unknown."""
        if self.shape is None:
            return 0
        row, pair = self.lengths
        return estimate(self.shape, self.recipe, row, self.backend, self.kind, pair).total

    def check(self) -> None:
        """Raise RecipeError where the estimate is more than the run may use.

        On a GPU that is not asked to keep to a limit, running out of memory is an error that `rehearse` can tell.
        """
        if self.bound == "none" or (self.bound == "auto" and self.kind == "gpu"):
            return
        free = allowed(self.recipe, self.kind)
        if not free or self.needed <= free * (1 if self.bound == "auto" else TOLERANCE):
            return
        have = f"{_gb(free)} are free" if self.bound == "auto" else f"--memory-limit allows {_gb(free)}"
        anyway = "; --memory-limit none tries it all the same" if self.bound == "auto" else ""
        raise RecipeError(f"the run needs about {_gb(self.needed)} of memory, and {have}: {self.advice(free)}{anyway}")

    def rehearse(self, model: Model, pad: int, *, shared: bool) -> None:
        """A step over the longest pairs, where memory may run out or has a limit. Raises RecipeError with a remedy."""
        limited = self.bound not in ("auto", "none")
        if self.kind == "cpu" and not limited:
            return
        pairs = sorted(self.examples, key=pair_tokens)[-self.recipe.train.batch_size :]
        loss = self.recipe.loss
        try:
            batch = collate(pairs, range(len(pairs)), pad, shared=shared)
            model.rehearse(batch, objective(loss.name, loss.beta, loss.reduction))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise RecipeError(f"memory ran out in a step over the longest pairs: {self.after(error)}") from None
        peak, free = model.memory().peak, allowed(self.recipe, self.kind)
        if limited and peak > free:
            advice = self.advice(round(self.needed * free / peak))  # as far below its estimate as the limit is
            raise RecipeError(
                f"a step over the longest pairs took {_gb(peak)}, and --memory-limit allows {_gb(free)}: {advice}"
            )

    def advice(self, free: int) -> str:
        """The smallest change with which the estimate is at most `free` bytes."""
        if self.shape is None:
            return SEVERAL.partition(": ")[2]
        row, pair = self.lengths
        change = remedy(self.shape, self.recipe, row, self.backend, self.kind, free, pair)
        return f"the smallest change that fits is {change}" if change else SEVERAL

    def after(self, error: BaseException) -> str:
        """What to do once memory ran out."""
        free = min(filter(None, (allowed(self.recipe, self.kind), round(SPARE * self.needed))), default=0)
        return f"{self.advice(free)} ({one_line(error, 120)})"


def longest(examples: Sequence[Example]) -> tuple[int, int]:
    """Tokens of the longest prompt and answer, and of the longest prompt with both answers; 0 of none."""
    rows = (len(e.prompt) + max(len(e.chosen), len(e.rejected)) for e in examples)
    return max(rows, default=0), max(map(pair_tokens, examples), default=0)


def pair_tokens(example: Example) -> int:
    return len(example.prompt) + len(example.chosen) + len(example.rejected)


def _gb(size: float) -> str:
    return f"{size / 1e9:.2g} GB" if size < 1e10 else f"{size / 1e9:.0f} GB"
