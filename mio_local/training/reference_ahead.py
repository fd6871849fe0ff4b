"""The reference's log-probs of pairs that are not trained on yet, so that their training begins at once."""

import time
from pathlib import Path

from mio_local.adapters.adapter import SavedAdapter
from mio_local.backends import Backend, Device, Model
from mio_local.data.collate import Order, collate, in_batches
from mio_local.progress import Report
from mio_local.recipe import Recipe
from mio_local.training.fingerprint import reference_name
from mio_local.training.inputs import tokenised
from mio_local.training.optimizations import settle
from mio_local.training.reference import Reference, Store


def score_ahead(
    model: Model, recipe: Recipe, backend: Backend, device: Device, place: Path, initial: SavedAdapter | None,
    report: Report,
) -> int:  # fmt: skip
    """Compute and keep what `train` with this recipe would ask of its reference in its first epoch, in the batches that
    it would; how many pairs that are. `model` has the recipe's adapter as it is at the start."""
    tokens = tokenised(recipe, time.time(), report).tokens
    pad, train = tokens.chat.pad, recipe.train
    report("comparing with the plain path", 0, 0)
    savings = settle(model, recipe.speed, tokens.train, pad)
    name = reference_name(recipe, backend, device, place, initial, savings.on, report)
    reference, shared = Reference(model, Store(name)), savings.speed.share_prompt
    order = Order.of(tokens.train, train.batch_size, train.accumulate, train.seed)
    done, total = 0, len(tokens.train) + len(tokens.held_out)
    for step in range(order.steps_per_epoch):
        for pairs in order.step(step):
            reference.logps(collate(tokens.train, pairs, pad, shared=shared), tokens.train)
            done += len(pairs)
            report("scoring the pairs by the reference", done, total)
    for batch in in_batches(tokens.held_out, recipe.eval.batch_size or train.batch_size, pad, shared=shared):
        reference.logps(batch, tokens.held_out)
        done += batch.size
        report("scoring the pairs by the reference", done, total)
    return done
