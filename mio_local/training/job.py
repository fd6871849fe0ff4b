"""What a run trains on: everything `trainer` needs, prepared by `session`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from mio_local.backends import Model
from mio_local.data.collate import Batch, Order, collate, in_batches
from mio_local.data.examples import Example, Tokenised
from mio_local.data.questions import Question
from mio_local.data.template import Chat
from mio_local.data.tokenizer import padding
from mio_local.errors import RunError
from mio_local.memory.rehearsal import Room
from mio_local.objectives.losses import PairLogps
from mio_local.recipe import Recipe
from mio_local.runs.directory import Run, called
from mio_local.training.checkpoint import Progress
from mio_local.training.reference import Store
from mio_local.training.savings import Levers


@dataclass
class Job:
    """All that a run trains on. `progress` is zero for a new run, the checkpoint's for a resumed one."""

    run: Run
    recipe: Recipe
    model: Model
    chat: Chat
    examples: Sequence[Example]
    held_out: Sequence[Example]
    counts: Tokenised
    facts: dict[str, Any]
    levers: Levers
    room: Room
    store: Store | None = None
    questions: Sequence[Question] = ()
    progress: Progress = field(default_factory=Progress)

    def out_of_memory(self, error: BaseException) -> RunError:
        """What to tell where memory ran out in a step, though the longest pairs had fitted."""
        typed = called(self.run)
        return RunError(
            f"run {self.run.name}: memory ran out after step {self.progress.step}; free some, then go on from the last "
            f"checkpoint with: mio-local resume {typed}; or start anew: {self.room.after(error)}"
        )

    @property
    def pad(self) -> int:
        """The token that fills rows up."""
        return padding(self.chat.tokenizer)

    @cached_property
    def order(self) -> Order:
        """The order of the training pairs."""
        train = self.recipe.train
        return Order.of(self.examples, train.batch_size, train.accumulate, train.seed)

    @property
    def total_steps(self) -> int:
        """`train.steps`, or as many as `train.epochs` takes."""
        return self.recipe.train.steps or math.ceil(self.recipe.train.epochs * self.order.steps_per_epoch)


def batch_of(job: Job, examples: Sequence[Example], pairs: Sequence[int]) -> Batch:
    """The batch of `pairs`, in the layout that the model is fed with."""
    return collate(examples, pairs, job.pad, shared=job.levers.speed.share_prompt)


def held_out_batches(job: Job) -> list[Batch]:
    """The held-out pairs in fixed batches of similar length, the same at every evaluation."""
    size = job.recipe.eval.batch_size or job.recipe.train.batch_size
    return in_batches(job.held_out, size, job.pad, shared=job.levers.speed.share_prompt)


def as_pairs(batch: Batch, policy: np.ndarray, reference: np.ndarray) -> PairLogps:
    """Rows of a batch to pairs: the first half chosen, the second rejected."""
    n = batch.size
    return PairLogps(policy[:n], policy[n:], reference[:n], reference[n:], batch.tokens[:n], batch.tokens[n:])
