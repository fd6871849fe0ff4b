"""One optimiser step: forward and backward over its batches, then clip and update."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from mio_local.data.examples import Example
from mio_local.objectives.losses import LOSSES, PairLogps, objective_of
from mio_local.objectives.metrics import Metrics, join, pair_metrics
from mio_local.objectives.schedule import learning_rate
from mio_local.runs.events import Event
from mio_local.training.health import nonfinite_note
from mio_local.training.job import Job, as_pairs, batch_of
from mio_local.training.reference import Reference
from mio_local.training.steps.mismatched_answers import divergence
from mio_local.training.steps.supply import Supply


def take_step(job: Job, supply: Supply) -> tuple[Metrics, Event | None]:
    """Take the next step; its figures, or why it could not be taken."""
    began, before, progress = time.perf_counter(), supply.reference.seconds, job.progress
    passes, loss_terms = supply.passes(), job.recipe.loss
    pairs = sum(len(indices) for indices in passes)
    apart = kto_divergence(job, supply.reference, [supply.examples[i] for indices in passes for i in indices])
    objective = objective_of(loss_terms, apart)
    scored, loss, tokens = list[PairLogps](), 0.0, 0
    for indices in passes:
        batch = batch_of(job, supply.examples, indices)
        reference = supply.reference.logps(batch, supply.examples)
        result = job.model.accumulate(batch, reference, objective, 1 / pairs)
        loss += result.loss / pairs
        tokens += int(batch.real_tokens)
        scored.append(as_pairs(batch, result.logps, reference))
    rate = learning_rate(job.recipe.train, *supply.position)
    norm = job.model.apply(rate)
    if not (math.isfinite(loss) and math.isfinite(norm)):
        what = "gradient" if math.isfinite(loss) else "loss"
        return {}, nonfinite_note(progress.step, norm if math.isfinite(loss) else loss, what)
    supply.taken()
    progress.tokens += tokens
    seconds = time.perf_counter() - began
    memory = job.model.memory()
    return {
        **pair_metrics(replace(join(scored), divergence=apart), loss_terms),
        "loss": loss,
        "grad_norm": norm,
        "learning_rate": rate,
        "epoch": supply.epoch,
        "num_tokens": progress.tokens,
        "perf/seconds": seconds,
        "perf/reference_seconds": supply.reference.seconds - before,
        "perf/tokens_per_second": tokens / seconds,
        "perf/pairs_per_second": pairs / seconds,
        "perf/memory_active": memory.active,
        "perf/memory_peak": memory.peak,
    }, None


def kto_divergence(job: Job, reference: Reference, examples: Sequence[Example]) -> float:
    """KTO's z0 over these examples, nats; 0 for the other objectives."""
    return divergence(job, reference, examples) if LOSSES[job.recipe.loss.name].needs == "labels" else 0.0
