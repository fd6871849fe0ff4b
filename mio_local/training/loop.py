"""The training loop: a generator of events. It knows the Backend protocol, and neither an array library nor a screen.

`train` writes each event to the run directory and hands it on; the command line prints what it is handed, the terminal
app reads the directory. Nothing here depends on who is looking.
"""

import math
import time
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import replace

import numpy as np

from mio_local.adapters.adapter import Adapter
from mio_local.data.collate import Batch
from mio_local.errors import RunError, one_line
from mio_local.memory.rehearsal import telling
from mio_local.objectives.losses import LOSSES, PairLogps
from mio_local.objectives.metrics import Metrics, has_loss, held_out_metrics, join
from mio_local.runs.control import COMMANDS, Control
from mio_local.runs.events import Event, EventWriter, rewind
from mio_local.training import checkpoint, health, tracked
from mio_local.training.job import Job, as_pairs, held_out_batches
from mio_local.training.measured.held_out_reward import REWARD
from mio_local.training.measured.samples import Sampler
from mio_local.training.measured.task_accuracy import greedy_answers
from mio_local.training.measured.text_perplexity import TextScorer
from mio_local.training.rounds.begin_rounds import supply_of
from mio_local.training.standing import Standing
from mio_local.training.steps.optimiser_step import kto_divergence, take_step


def train(job: Job, control: Control | None = None) -> Iterator[Event]:
    """Train to the end, or to a stop; yields every event after it is on disk. Holds the run's lock meanwhile.

    `control` comes from who listened for requests while the job was prepared. Raises RunError where another trainer
    has the lock, or went on with the run meanwhile.
    """
    with job.run.locked():
        if job.run.last_step() != job.progress.step:
            raise RunError(f"run {job.run.name} was trained further a moment ago; resume it again")
        rewind(job.run.events, job.progress.events)
        control = control or Control(job.run.control)
        try:
            with closing(EventWriter(job.run.events)) as writer, control.signals(), telling(job.out_of_memory):
                loop = Loop(job, writer, control)
                with closing(loop.supply):
                    for event in tracked.mirrored(job, loop.events()):
                        if event.type != "progress":
                            writer.write(event)
                            loop.standing.hear(event)
                        yield event
        except Exception as error:
            with suppress(OSError):  # the disk may be what failed
                job.run.update_status(state="failed", step=job.progress.step, reason=one_line(error))
            raise


class Loop:
    """One session of training: the state that `events` walks through."""

    def __init__(self, job: Job, writer: EventWriter, control: Control) -> None:
        self.job, self.writer, self.control = job, writer, control
        self.progress = job.progress
        self.settings = job.recipe.train
        self.supply = supply_of(job, control)
        self.eval_batches: list[Batch] = []
        self.sampler = Sampler(job)
        self.texts = TextScorer(job)
        self.standing = Standing(job, self.supply.total)
        self.stopping = self.exhausted  # killed after the evaluation that ended it
        self.broken: Event | None = None
        self.checkpoint_asked = False
        self.saved_step = self.progress.step if self.progress.step else -1

    @property
    def exhausted(self) -> bool:
        """Whether held-out evaluations have failed to improve for as long as the recipe is patient."""
        patience = self.job.recipe.eval.patience
        return bool(patience) and self.progress.bad_evals >= patience

    def events(self) -> Iterator[Event]:
        """Everything that happens from `progress.step` on."""
        progress, supply = self.progress, self.supply
        yield from supply.first()
        self.eval_batches = held_out_batches(self.job)
        yield from health.cache_notes(progress.step, self.job.store.damaged if self.job.store else 0)
        if progress.step == 0:
            yield Event("started", 0, {**self.job.facts, "total_steps": supply.total})
            yield from health.data_notes(self.job.tokens.counts, self.job.recipe.data.max_tokens)
            asked = len(self.job.prompts.held_out) if self.job.prompts else 0
            yield from health.held_out_notes(len(self.job.held_out), asked)
            yield from health.adapter_notes(self.job.told)
            yield from health.base_notes(self.job.recipe)
            yield from health.speed_notes(self.job.savings.text, self.job.store.trouble if self.job.store else "")
            yield from self.task(reference=True)
            yield from self.evaluate()
        self.standing.write("training")
        start = self.job.model.get_adapter() if progress.step == 0 else None
        while not supply.is_over and not self.stopping and not self.broken:
            yield from self.requests()
            if self.stopping:
                break
            yield from self.prepared()
            if not supply.is_ready:
                continue
            metrics, self.broken = take_step(self.job, supply)
            self.standing.latest = metrics or self.standing.latest
            if self.broken:
                yield self.broken
                break
            yield Event("step", progress.step, metrics)
            self.standing.write("training")
            if start is not None:
                yield from self.first_step(start, metrics)
                start = None
                if self.broken:
                    break
            if self.job.recipe.eval.every and progress.step % self.job.recipe.eval.every == 0:
                yield from self.evaluate()
            due = self.settings.save_every and progress.step % self.settings.save_every == 0
            ending = supply.is_over or self.stopping  # `finish` saves the last step
            if (due or self.checkpoint_asked) and not ending and not self.broken:
                yield from self.save()
        yield from self.finish()

    def prepared(self) -> Iterator[Event]:
        """What the next step needs, where a round has used up what it made."""
        for event in self.supply.before():
            if event.type == "save":
                yield from self.save()
            else:
                yield event

    def first_step(self, start: Adapter, metrics: Metrics) -> Iterator[Event]:
        """Two things that must hold once the first step is taken."""
        if odd := health.start_note(self.progress.step, metrics, self.job.recipe.loss, forced=self.job.forced):
            self.broken = None if self.job.forced else odd
            yield odd
        now = self.job.model.get_adapter()
        if all(np.array_equal(start[name], now[name]) for name in start):
            yield health.still_note(self.progress.step)

    def evaluate(self) -> Iterator[Event]:
        """Score the held-out pairs, greedy answers and plain text; remember the best adapter; decide on an early
        stop."""
        figures: Metrics = {}
        if self.eval_batches:
            figures = yield from self.score_pairs()
        if self.broken:
            return
        for event in self.supply.measured():
            figures = {**figures, **event.values}
            yield event
        yield from self.texts.events(self.progress.step, self.standing.on_the_way)
        self.job.model.release()
        yield from self.keep_best(figures)

    def score_pairs(self) -> Generator[Event, None, Metrics]:
        """Score the held-out pairs; returns their figures."""
        scored: list[PairLogps] = []
        total = sum(batch.size for batch in self.eval_batches)
        for batch in self.eval_batches:
            policy = self.job.model.logps(batch, reference=False)
            scored.append(as_pairs(batch, policy, self.supply.start.logps(batch, self.job.held_out)))
            yield self.standing.on_the_way("scoring held-out pairs", sum(len(pairs.chosen) for pairs in scored), total)
        apart = kto_divergence(self.job, self.supply.start, self.job.held_out)
        pairs = replace(join(scored), divergence=apart)
        metrics = self.standing.held_out = held_out_metrics(pairs, self.job.recipe.loss)
        self.standing.write(self.standing.state)  # the scoring is over
        progress = self.progress
        yield Event("eval", progress.step, {**metrics, "pairs": total})
        yield from self.sampler.events(progress.step)
        if not math.isfinite(metrics["loss" if has_loss(pairs, self.job.recipe.loss) else "logps/chosen"]):
            self.broken = health.nonfinite_note(progress.step, metrics["loss"], "held-out loss")
            yield self.broken
            return metrics
        progress.below = progress.below + 1 if health.sinking(metrics) else 0
        if low := health.below_note(progress.step, progress.below, metrics, self.job.recipe.loss):
            yield low
        return metrics

    def keep_best(self, figures: Metrics) -> Iterator[Event]:
        """Publish the adapter where it is the best so far by `eval.metric`; stop where it has long not been."""
        progress, metric = self.progress, self.job.recipe.eval.metric
        in_rounds = self.job.recipe.train.rounds > 0
        if metric == "loss" and in_rounds and LOSSES[self.job.recipe.loss.name].needs == "samples":
            metric = REWARD  # a loss by rewards that were given long ago says nothing of the policy of now
        value = figures.get(metric, math.nan)
        if not math.isfinite(value):  # there is no such figure of these pairs
            return
        sign = -1 if metric == "loss" else 1  # the higher, the better
        if progress.best is None or sign * value > sign * progress.best:
            progress.best, progress.best_step, progress.bad_evals = value, progress.step, 0
            if progress.step:
                checkpoint.publish_adapter(self.job.model, self.job.run.checkpoints / "best")
        else:
            progress.bad_evals += 1
            if self.exhausted:
                self.stopping = True
                text = f"held-out {metric} has not improved for {progress.bad_evals} evaluations"
                yield health.note(progress.step, "info", "early", f"{text}; best at step {progress.best_step}")

    def task(self, *, reference: bool) -> Iterator[Event]:
        """Answer the task questions greedily, if there are any."""
        job, right, questions = self.job, 0, self.job.questions
        if not questions:
            return
        tokens, system = job.recipe.eval.task_tokens, job.recipe.data.system
        answers = greedy_answers(job.model, job.chat, questions, tokens, reference=reference, system=system)
        for done, correct in enumerate(answers, 1):
            right += correct
            yield self.standing.on_the_way("answering task questions", done, len(questions))
        accuracy = right / len(questions)
        yield Event("task", self.progress.step, {"accuracy": accuracy, "correct": right, "questions": len(questions)})

    def save(self) -> Iterator[Event]:
        """Write a checkpoint of this step, unless there is one."""
        self.checkpoint_asked = False
        if self.saved_step == self.progress.step:
            return
        place = self.job.run.checkpoints / f"step-{self.progress.step:06d}"
        # the event first: the checkpoint remembers the stream's length with its own event in it
        yield Event("checkpoint", self.progress.step, {"path": str(place.relative_to(self.job.run.path))})
        self.progress.events, self.progress.events_digest = self.writer.mark()
        checkpoint.save(self.job.run, self.job.model, self.progress, self.settings.keep)
        self.saved_step = self.progress.step

    def requests(self) -> Iterator[Event]:
        """Obey control.jsonl and the signals; waits here while paused."""
        paused = False
        while True:
            for identity, command in self.control.poll():
                if command == "stop":
                    self.stopping = True
                elif command == "checkpoint":
                    self.checkpoint_asked = True
                elif command in ("pause", "resume"):
                    paused = command == "pause"
                refused = self.sampler.off if command == "sample" else "" if command in COMMANDS else "unknown command"
                result = refused or "done"
                yield Event("control", self.progress.step, {"command": command, "id": identity, "result": result})
                if command == "sample":
                    yield from self.sampler.events(self.progress.step)
            if self.checkpoint_asked and self.progress.step:
                yield from self.save()
            if self.stopping or not paused:
                if self.standing.state == "paused":
                    self.standing.write("training")
                return
            if self.standing.state != "paused":
                self.standing.write("paused")
            time.sleep(0.05)

    def finish(self) -> Iterator[Event]:
        """Evaluate, save, publish the adapter, and say so."""
        done, every = self.supply.is_over, self.job.recipe.eval.every
        if not self.broken:
            if not (done or self.exhausted):
                self.standing.write("stopping")
            new = self.saved_step != self.progress.step  # else killed after the last checkpoint: all this is in it
            if done and new and not (every and self.progress.step % every == 0):
                yield from self.evaluate()
            if (done or self.exhausted) and new and not self.broken:
                yield from self.task(reference=False)
        if done and not self.progress.step and not self.broken:
            self.broken = health.note(0, "error", "pairs", "no round made anything to train on; the notes say why")
            yield self.broken
        if self.broken:
            yield from self.fail(self.broken)
            return
        if self.progress.step:
            yield from self.save()
            checkpoint.publish_adapter(self.job.model, self.job.run.adapter)
        state = "done" if done or self.exhausted else "stopped"
        reason = self.supply.why or "all steps done" if done else "early stop" if state == "done" else "asked to stop"
        yield Event("finished", self.progress.step, {"state": state, "reason": reason})
        self.standing.write(state, reason=reason)

    def fail(self, failure: Event) -> Iterator[Event]:
        """After a step that is not finite: go back to the last good checkpoint and publish its adapter."""
        good = self.job.run.saved()
        if good:
            checkpoint.load(good[-1], self.job.model)
            checkpoint.publish_adapter(self.job.model, self.job.run.adapter)
        where = f"the adapter is that of {good[-1].name}" if good else "there is no checkpoint before it"
        reason = f"{failure.values['text']}; {where}"
        yield Event("finished", self.progress.step, {"state": "failed", "reason": reason})
        self.standing.write("failed", reason=reason)
