"""What a run trains on: everything that the loop needs, prepared by `prepare` or `reopen`."""

import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from mio_local import __version__
from mio_local.backends import Backend, Model
from mio_local.data.collate import Batch, collate
from mio_local.data.examples import Example
from mio_local.data.stepping.passes import in_batches
from mio_local.data.stepping.step_order import Order
from mio_local.data.task_questions import Question, read_tasks
from mio_local.data.template import Chat
from mio_local.data.tokenise import Tokens
from mio_local.errors import RunError
from mio_local.making.answered import Judge
from mio_local.memory.rehearsal import Rehearsal
from mio_local.objectives.losses import PairLogps, pair_logps
from mio_local.objectives.schedule import total_steps
from mio_local.recipe import Recipe
from mio_local.runs.directory import Run, called
from mio_local.text import without_secrets
from mio_local.training.checkpoint import Progress
from mio_local.training.optimizations import Optimizations
from mio_local.training.reference import Store
from mio_local.training.rounds.run_prompts import RunPrompts, most_steps


@dataclass
class Job:
    """All that a run trains on. `info` is what run.json holds; `progress` is zero for a new run, the checkpoint's for a
    resumed one."""

    run: Run
    recipe: Recipe
    model: Model
    tokens: Tokens
    info: dict[str, Any]
    savings: Optimizations
    rehearsal: Rehearsal
    prompts: RunPrompts | None = None  # of a run of rounds
    told: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # of the adapter at the start, by level
    progress: Progress = field(default_factory=Progress)
    forced: bool = False  # to go on where the first loss is not what it must be
    tracked: dict[str, str] = field(default_factory=dict[str, str])  # by which tracker, where, and what went wrong
    made: Sequence[Example] | None = None  # held-out pairs that a run of rounds made itself
    judge: Judge | None = None  # who rewards the answers of its rounds, where the run was prepared just now

    @property
    def chat(self) -> Chat:
        """The tokenizer and its template."""
        return self.tokens.chat

    @property
    def examples(self) -> Sequence[Example]:
        """The pairs to train on."""
        return self.tokens.train

    @property
    def held_out(self) -> Sequence[Example]:
        """The pairs to evaluate on."""
        return self.tokens.held_out if self.made is None else self.made

    @property
    def facts(self) -> dict[str, Any]:
        """What the `started` event says."""
        return self.info["facts"]

    @cached_property
    def store(self) -> Store | None:
        """The reference's log-probs on disk; None where they are not kept."""
        name = self.info.get("reference", "")
        return Store(name) if name else None

    @cached_property
    def questions(self) -> Sequence[Question]:
        """The questions to answer before and after; none where the recipe names no file."""
        return read_tasks(self.recipe.eval.tasks) if self.recipe.eval.tasks else []

    def out_of_memory(self, error: BaseException) -> RunError:
        """What to tell where memory ran out in a step, though the longest pairs had fitted."""
        typed = called(self.run)
        return RunError(
            f"run {self.run.name}: memory ran out after step {self.progress.step}; free some, then go on from the last "
            f"checkpoint with: mio-local resume {typed}; or start anew: {self.rehearsal.after(error)}"
        )

    @property
    def pad(self) -> int:
        """The token that fills rows up."""
        return self.chat.pad

    @cached_property
    def order(self) -> Order:
        """The order of the training pairs."""
        train = self.recipe.train
        return Order.of(self.examples, train.step_pairs, train.seed)

    @property
    def total_steps(self) -> int:
        """`train.steps`, or as many as `train.epochs` takes; of rounds the most that all of them may take."""
        if self.recipe.train.rounds:
            return self.recipe.train.rounds * most_steps(self.recipe, len(self.tokens.train))
        return total_steps(self.recipe.train, len(self.examples))


def batch_of(job: Job, examples: Sequence[Example], pairs: Sequence[int]) -> Batch:
    """The batch of `pairs`, in the layout that the model is fed with."""
    return collate(examples, pairs, job.pad, shared=job.savings.speed.share_prompt)


def held_out_batches(job: Job) -> list[Batch]:
    """The held-out pairs in fixed batches of similar length, the same at every evaluation."""
    size = job.recipe.held_out_pass.over(job.recipe.backend.devices)
    return in_batches(job.held_out, size, job.pad, shared=job.savings.speed.share_prompt)


def as_pairs(batch: Batch, policy: np.ndarray, reference: np.ndarray) -> PairLogps:
    """Rows of a batch, answer by answer, as pairs."""
    return pair_logps(policy, reference, batch.tokens, batch.size, batch.rewards)


def session(backend: Backend, step: int) -> dict[str, Any]:
    """What is worth knowing of one start of the trainer."""
    versions = {"mio-local": __version__, "python": platform.python_version(), **backend.versions}
    for package in ("transformers", "tokenizers", "numpy"):
        versions[package] = importlib.metadata.version(package)
    return {
        "started": time.time(),
        "from_step": step,
        "argv": list(map(without_secrets, sys.argv)),
        "pid": os.getpid(),
        "host": platform.node(),
        "platform": platform.platform(),
        "versions": versions,
    }
