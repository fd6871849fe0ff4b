"""Whether the longest pairs fit into memory, told before hours are lost: by the estimate, then by a step that leaves no
trace."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mio_local.backends import Device, Model
from mio_local.data.collate import collate
from mio_local.data.examples import Example, lengths_of, longest
from mio_local.data.stepping.passes import largest_passes
from mio_local.errors import MioError, RecipeError, lacks_memory, one_line
from mio_local.memory.estimate import estimate
from mio_local.memory.fitting import allowed, remedy, resident
from mio_local.models.shapes import Shape, known_shape
from mio_local.objectives.losses import objective_of
from mio_local.recipe import Recipe

TOLERANCE = 1.25  # an estimate this much above a limit is believed; below, the step is tried and measured
SPARE = 0.8  # of the estimate: what a change must bring it to where memory ran out though the estimate fits
SEVERAL = "no single change is enough: take a smaller model, --quantize 4, or --batch-size 1 with --grad-checkpoint"


class DoesNotFit(RecipeError):
    """A run does not fit into the memory that it may use."""


@contextmanager
def telling(explain: Callable[[BaseException], MioError]) -> Generator[None]:
    """Memory that runs out inside, as an error or its cause, is raised as what `explain` makes of it."""
    try:
        yield
    except DoesNotFit:
        raise
    except Exception as error:
        if not lacks_memory(error):
            raise
        raise explain(error) from None


@dataclass(frozen=True)
class Rehearsal:
    """A run and the device it is for: `backend` by name, `kind` gpu or cpu, `place` the model's folder. `free`: bytes
    that it may use, as they were before the model was loaded; 0 where that is unknown, or there is no limit."""

    recipe: Recipe
    backend: str
    kind: str
    place: Path
    train: Sequence[Example]
    held_out: Sequence[Example]
    free: int

    @classmethod
    def of(
        cls, recipe: Recipe, backend: str, device: Device, place: Path, train: Sequence[Example],
        held_out: Sequence[Example],
    ) -> "Rehearsal":  # fmt: skip
        """With the memory that is free now."""
        free = allowed(recipe, device.kind, device.memory)
        if backend == "cuda" and device.kind == "cpu" and recipe.backend.memory_limit == "auto":
            free += resident() if free else 0  # the estimate counts this process whole
        return cls(recipe, backend, device.kind, place, train, held_out, free)

    def with_tokens(self, tokens: int) -> "Rehearsal":
        """The same with passes of at most so many tokens."""
        train = self.recipe.train.model_copy(update={"batch_tokens": tokens})
        return replace(self, recipe=self.recipe.model_copy(update={"train": train}))

    @property
    def bound(self) -> str:
        """The recipe's memory limit: auto, none, or GB."""
        return self.recipe.backend.memory_limit

    @cached_property
    def shape(self) -> Shape | None:
        """The model's shape; None where its files do not tell."""
        return known_shape(self.place)

    @cached_property
    def lengths(self) -> tuple[int, int]:
        """Tokens of the longest prompt and answer, and of the longest prompt with all of them."""
        return longest(self.train)

    @cached_property
    def answers(self) -> int:
        """The most answers of a prompt."""
        return lengths_of(self.train).shape[1] - 1

    @cached_property
    def needed(self) -> int:
        """Bytes that the run is estimated to take at its peak, 0 where that is unknown."""
        if self.shape is None:
            return 0
        row, pair = self.lengths
        return estimate(self.shape, self.recipe, row, self.backend, self.kind, pair, self.answers).total

    def check(self) -> None:
        """Raise DoesNotFit where the estimate is more than the run may use.

        On a GPU that is not asked to keep to a limit, running out of memory is an error that `rehearse` can tell.
        """
        if self.bound == "none" or (self.bound == "auto" and self.kind == "gpu"):
            return
        if self.free and self.needed > self.free * (1 if self.bound == "auto" else TOLERANCE):
            raise self.refusal(f"the run needs about {_gb(self.needed)} of memory", self.free)

    def refusal(self, need: str, bound: int) -> DoesNotFit:
        """What is needed, what there is, and the smallest change that brings the estimate to `bound` bytes."""
        have = f"{_gb(self.free)} are free" if self.bound == "auto" else f"--memory-limit allows {_gb(self.free)}"
        anyway = "; --memory-limit none tries it all the same" if self.bound == "auto" else ""
        return DoesNotFit(f"{need}, and {have}: {self.advice(bound)}{anyway}")

    def rehearse(self, model: Model, pad: int, *, shared: bool) -> None:
        """A pass over the longest pairs, or the most tokens, and the scoring of such held-out ones, where memory may
        run out or has a limit. Raises DoesNotFit where they take more than that."""
        limited = self.bound not in ("auto", "none")
        if self.kind == "cpu" and not limited:
            return
        goal, ranks = objective_of(self.recipe.loss), self.recipe.backend.devices
        for pairs in largest_passes(self.train, self.recipe.train.pass_size.over(ranks), shared=shared):
            model.rehearse(collate(self.train, pairs, pad, shared=shared), goal)
        for pairs in largest_passes(self.held_out, self.recipe.held_out_pass.over(ranks), shared=shared):
            model.logps(collate(self.held_out, pairs, pad, shared=shared), reference=False)
        peak = model.memory().peak
        model.release()
        if self.bound != "none" and self.free and peak > self.free:
            # as far below its estimate as the limit is below the peak
            raise self.refusal(f"a step over the longest pairs took {_gb(peak)}", round(self.needed * self.free / peak))

    @contextmanager
    def guarded(self) -> Generator[None]:
        """Memory that runs out inside, on the way to the first step, is DoesNotFit with the smallest change."""
        with telling(lambda error: DoesNotFit(f"memory ran out before the first step: {self.after(error)}")):
            yield

    def advice(self, free: int) -> str:
        """The smallest change with which the estimate is at most `free` bytes."""
        if self.shape is None:
            return SEVERAL.partition(": ")[2]
        row, pair = self.lengths
        prompt = max((len(example.prompt) for example in (*self.train, *self.held_out)), default=0)
        change = remedy(self.shape, self.recipe, row, self.backend, self.kind, free, pair, prompt, self.answers)
        return f"the smallest change that fits is {change}" if change else SEVERAL

    def after(self, error: BaseException) -> str:
        """What to do once memory ran out."""
        free = min(filter(None, (self.free, round(SPARE * self.needed))), default=0)
        return f"{self.advice(free)} ({one_line(error, 120)})"


def _gb(size: float) -> str:
    return f"{size / 1e9:.{2 if size < 1e10 else 1}f} GB"
