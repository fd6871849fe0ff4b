"""Which pairs a step takes: those of the data, in the order of its seed; or those that a round has made."""

from collections.abc import Iterator, Sequence

from mio_local.data.examples import Example
from mio_local.data.stepping.passes import passes
from mio_local.data.stepping.step_order import Order
from mio_local.runs.events import Event
from mio_local.training.job import Job
from mio_local.training.reference import Reference


class Supply:
    """The pairs of the data, epoch after epoch."""

    def __init__(self, job: Job) -> None:
        self.job, self.progress = job, job.progress
        self.start = Reference(job.model, job.store)  # of the held-out pairs: the adapter as it was at the start
        self.reference = self.start  # of the pairs that are trained on

    @property
    def examples(self) -> Sequence[Example]:
        """What the numbers of `pairs` are of."""
        return self.job.examples

    @property
    def order(self) -> Order:
        """The order of `examples`."""
        return self.job.order

    @property
    def why(self) -> str:
        """Why it is over before its last step was taken; "" where that was taken."""
        return ""

    @property
    def total(self) -> int:
        """Steps of the whole run; of rounds that are to come, the most that they may take."""
        return self.job.total_steps

    @property
    def is_over(self) -> bool:
        """Whether the last step is done."""
        return self.progress.step >= self.total

    @property
    def is_ready(self) -> bool:
        """Whether there is a next step to take now."""
        return not self.is_over

    @property
    def position(self) -> tuple[int, int]:
        """Where the next step stands in the schedule of the learning rate: its number, from 0, and of how many."""
        return self.progress.step, self.total

    @property
    def epoch(self) -> float:
        """How often the pairs were seen."""
        return self.progress.step / self.order.steps_per_epoch

    def pairs(self) -> list[int]:
        """The pairs of the next step."""
        return self.order.pairs(self.progress.step)

    def passes(self) -> list[list[int]]:
        """The forward passes of the next step."""
        shared, recipe = self.job.savings.speed.share_prompt, self.job.recipe
        size = recipe.train.pass_size.over(recipe.backend.devices)
        return passes(self.examples, self.pairs(), size, shared=shared)

    def taken(self) -> None:
        """The step was taken."""
        self.progress.step += 1

    def first(self) -> Iterator[Event]:
        """What comes before anything is measured."""
        yield from ()

    def before(self) -> Iterator[Event]:
        """What comes before the next step; an event `save` asks for a checkpoint, and is not one of the run's."""
        yield from ()

    def close(self) -> None:
        """There are no more steps."""

    def measured(self) -> Iterator[Event]:
        """What an evaluation has beside the held-out pairs."""
        yield from ()

