"""Rounds: the policy draws answers to the next prompts, they are judged, and some steps are trained on what they make.

A round's answers depend on the policy at its start and on the seed alone. They lie in rounds/round-0001.jsonl, so that
a run that was killed anywhere goes on with the very same: those drawn by another policy are drawn anew.
"""

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mio_local.data.examples import Example
from mio_local.data.stepping.step_order import Order
from mio_local.errors import RunError
from mio_local.making.answered import Asked, Judge
from mio_local.making.make import Maker
from mio_local.making.work_file import Work
from mio_local.objectives.schedule import total_steps
from mio_local.runs.control import Control
from mio_local.runs.directory import called
from mio_local.runs.events import Event
from mio_local.runs.history import read
from mio_local.storage.writing import private_folder
from mio_local.training.checkpoint import read_progress
from mio_local.training.job import Job
from mio_local.training.measured.held_out_reward import held_out_reward
from mio_local.training.reference import Reference, Store
from mio_local.training.rounds.held_out_pairs import HELD_OUT_FILE, held_out_of
from mio_local.training.rounds.policy_drift import drift
from mio_local.training.rounds.round_notes import RoundNotes, far_note
from mio_local.training.rounds.round_summary import summary
from mio_local.training.rounds.run_prompts import most_steps, of_round, round_size
from mio_local.training.rounds.trained_groups import digest_of, examples_of
from mio_local.training.steps.supply import Supply

HELD_OUT = -1  # the number of the round that makes the held-out pairs


class Rounds(Supply):
    """The pairs of round after round. `judge` rewards answers; `key` names it with all that its rewards depend on."""

    def __init__(self, job: Job, control: Control, judge: Judge, key: str) -> None:
        super().__init__(job)
        self.control, self.judge, self.key = control, judge, key
        assert job.prompts  # a run of rounds is prepared and reopened with them
        self.prompts = job.prompts
        self.folder = job.run.path / "rounds"
        private_folder(self.folder)
        self.start = Reference(job.model, Store(file=self.folder / "reference.bin"))
        self.reference = self.start
        self._examples: Sequence[Example] = job.examples  # until the first are made
        self._order: Order | None = None
        self._most = most_steps(job.recipe, len(self.prompts.train))
        self.ended: Event | None = None  # why there are no more steps, though there are rounds left
        history = read(job.run)
        self.notes = RoundNotes(history.of("round"), history.of("reward"))

    @property
    def examples(self) -> Sequence[Example]:
        return self._examples

    @property
    def order(self) -> Order:
        return self._order or self.job.order

    @property
    def why(self) -> str:
        return "far from the reference" if self.ended else ""

    @property
    def total(self) -> int:
        left = self.job.recipe.train.rounds - self.progress.round
        here = self._here - self.progress.round_step if self._order else self._most
        return self.progress.step + max(0, left and (left - 1) * self._most + here)

    @property
    def is_over(self) -> bool:
        return self.progress.round >= self.job.recipe.train.rounds or self.ended is not None

    @property
    def is_ready(self) -> bool:
        return not self.is_over and not self._is_used_up

    @property
    def position(self) -> tuple[int, int]:
        """By rounds: one with fewer pairs goes through its share of the schedule in fewer steps."""
        share = self.progress.round_step / max(1, self._here)
        return int((self.progress.round + share) * self._most), self.job.recipe.train.rounds * self._most

    @property
    def epoch(self) -> float:
        return self.progress.round + self.progress.round_step / max(1, self._here)

    def pairs(self) -> list[int]:
        return self.order.pairs(self.progress.round_step)

    def taken(self) -> None:
        self.progress.step += 1
        self.progress.round_step += 1

    def first(self) -> Iterator[Event]:
        """Make the held-out pairs, by the reference; and what the current round has, if it has begun."""
        job = self.job
        if self.prompts.held_out and not job.recipe.data.eval_source:
            making = yield from self._made(HELD_OUT, self.prompts.held_out, reference=True)
            if making is None:
                return
            job.made = held_out_of(job.recipe, job.chat, making, self.judge)
            facts = job.facts | {"pairs": len(self.prompts.train), "held_out": len(job.held_out)}
            tokens = [each.scored_tokens[0] for each in job.held_out if each.chosen] or [math.inf]
            job.info["facts"] = facts | {"inverse_tokens": math.fsum(1 / count for count in tokens) / len(tokens)}
        if self.progress.round_step and not self.is_over:
            yield from self._round()

    def before(self) -> Iterator[Event]:
        """Make the next round's pairs where this one's are used up, until one has some."""
        while not self.is_over and not self.control.stop_asked() and self._is_used_up:
            if self._order:
                self.progress.round, self.progress.round_step = self.progress.round + 1, 0
                self._order = None
                if self.is_over:
                    return
                if self.job.recipe.loss.reference == "previous":
                    self.job.model.set_adapter(self.job.model.get_adapter())
                if self._most > 1:
                    yield Event("save", self.progress.step)
            yield from self._round()

    def close(self) -> None:
        self.judge.close()

    def measured(self) -> Iterator[Event]:
        """The rewards of greedy answers to the held-out prompts, by the policy of now."""
        if not self.prompts.held_out:
            return
        found = held_out_reward(self.job, self.judge, self.prompts.held_out)
        if found:
            self.notes.held_out(found)
            yield Event("reward", self.progress.step, found)

    @property
    def _here(self) -> int:
        """Steps of the current round."""
        return self._steps(len(self._examples)) if self._order else self._most

    @property
    def _is_used_up(self) -> bool:
        return self._order is None or self.progress.round_step >= self._here

    def _steps(self, count: int) -> int:
        return total_steps(self.job.recipe.train, count) if count else 0

    def _round(self) -> Iterator[Event]:
        """The examples of the current round, made or found; what a new one shows."""
        progress, recipe = self.progress, self.job.recipe
        size = round_size(recipe, len(self.prompts.train))
        asked = of_round(self.prompts.train, progress.round, size, recipe.train.seed)
        began = time.perf_counter()
        making = yield from self._made(progress.round, asked)
        if making is None:
            return
        examples = examples_of(recipe, self.job.chat, making.made, self.judge.threshold)
        digest = digest_of(examples)
        if progress.round_step and progress.made != digest:
            raise self._odd(progress.round)
        is_new = not progress.round_step
        progress.made, self._examples = digest, examples
        train = recipe.train
        self._order = Order.of(examples, train.step_pairs, train.seed + progress.round)
        if recipe.loss.reference == "previous":
            self.reference = Reference(self.job.model, Store(file=self._file(progress.round).with_suffix(".bin")))
        if is_new:
            values = {
                "round": progress.round + 1, "rounds": train.rounds, "perf/seconds": time.perf_counter() - began,
                **summary(making, examples, self.judge.threshold), **drift(self.job.model, self.job.chat, making.made),
            }  # fmt: skip
            yield Event("round", progress.step, values)
            yield from self.notes.of(progress.step, values)
            bound = recipe.make.kl_stop
            if bound and values.get("kl_per_token", 0) > bound:
                self.ended = far_note(progress.step, values["kl_per_token"], bound)
                yield self.ended

    def _made(self, number: int, asked: Sequence[Asked], *, reference: bool = False) -> Iterator[Event]:
        """Draw and judge; None where a stop was asked for on the way."""
        settings, seed = self.job.recipe.make, self.job.recipe.train.seed
        if number >= 0 and not self.progress.round_step:
            self.progress.drawn_by = adapter_name(self.job)
        policy = "" if reference else self.progress.drawn_by
        depends: dict[str, Any] = {"policy": policy, **settings.model_dump(include=DRAWN), "seed": seed}
        file = self._file(number)
        try:
            work = Work(file, depends)
        except RunError:
            if self.progress.round_step and number >= 0:
                raise self._odd(number) from None
            work = Work(file, depends, anew=True)
        what = "making held-out pairs" if reference else f"making the pairs of round {number + 1}"
        with work:
            maker = Maker(
                self.job.model, self.job.chat, asked, settings, self.judge, seed + number, work, key=self.key,
                reference=reference,
            )  # fmt: skip
            for progress in maker.going():
                yield Event("progress", self.progress.step, {
                    "what": what, "done": progress.known + progress.answers, "total": progress.total,
                })  # fmt: skip
                if self.control.stop_asked():
                    return None
            return maker.making()

    def _odd(self, number: int) -> RunError:
        """A round's file is another than the one whose steps were taken."""
        before = [folder.name for folder in self.job.run.saved() if read_progress(folder).round < number]
        again = f"mio-local resume {called(self.job.run)} --from {before[-1]}" if before else "start a new run"
        return RunError(f"{self._file(number)}: not what the steps since were trained on; put that back, or go back to "
                        f"a checkpoint before this round: {again}")  # fmt: skip

    def _file(self, number: int) -> Path:
        return self.folder / (HELD_OUT_FILE if number == HELD_OUT else f"round-{number + 1:04d}.jsonl")


DRAWN = {"answers", "temperature", "top_p", "answer_tokens", "rows", "judge"}  # settings that the answers depend on


def adapter_name(job: Job) -> str:
    """16 hex digits that stand for the policy's weights."""
    sha = hashlib.sha256()
    for name, value in sorted(job.model.get_adapter().items()):
        sha.update(name.encode() + value.tobytes())
    return sha.hexdigest()[:16]
