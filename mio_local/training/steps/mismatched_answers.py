"""KTO's z0 (arXiv 2402.01306, Eq. 8): how much likelier than under the reference answers to other prompts have become,
an estimate of the divergence that needs no sampling."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mio_local.data.collate import collate
from mio_local.data.examples import Example
from mio_local.data.stepping.passes import passes
from mio_local.training.job import Job
from mio_local.training.reference import Reference


def mismatched(examples: Sequence[Example]) -> list[Example]:
    """Each prompt with an answer to the next other prompt, in a ring; none where all have one prompt."""
    found: list[Example] = []
    for place, example in enumerate(examples):
        ring = [*examples[place + 1 :], *examples[:place]]
        other = next((each for each in ring if each.prompt != example.prompt), None)
        if other:
            answer = other.chosen or other.rejected
            found.append(replace(example, chosen=answer, rejected=[], others=(), rewards=(), scored=None))
    return found


def divergence(job: Job, reference: Reference, examples: Sequence[Example]) -> float:
    """max(0, mean over mismatched answers of log pi - log ref), nats, in the loss's reduction, without gradient; 0
    where there are none."""
    made = mismatched(examples)
    if not made:
        return 0.0
    total, shared = 0.0, job.savings.speed.share_prompt
    size = job.recipe.train.pass_size.over(job.recipe.backend.devices)
    for pairs in passes(made, range(len(made)), size, shared=shared):
        batch = collate(made, pairs, job.pad, shared=shared)
        ratio = job.model.logps(batch, reference=False) - reference.logps(batch, made)
        ratio = ratio[: batch.size]
        if job.recipe.loss.reduction == "mean":
            ratio = ratio / batch.tokens[: batch.size]
        total += float(np.sum(ratio, dtype=np.float64))
    return max(0.0, total / len(made))
