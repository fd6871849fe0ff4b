"""The reference's log-probs of pairs that are not trained on yet, so that their training begins at once."""

import time
from pathlib import Path

from mio_local.adapters.adapter import SavedAdapter
from mio_local.backends import Backend, Device, Model
from mio_local.data.collate import collate
from mio_local.data.stepping.passes import in_batches, passes
from mio_local.data.stepping.step_order import Order
from mio_local.memory.pass_tokens import by_estimate
from mio_local.memory.rehearsal import Rehearsal
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
    pad = tokens.chat.pad
    report("comparing with the plain path", 0, 0)
    savings = settle(model, recipe.speed, tokens.train, pad)
    name = reference_name(recipe, backend, device, place, initial, savings.on, report)
    reference, shared = Reference(model, Store(name)), savings.speed.share_prompt
    if recipe.train.batch_tokens == "auto":
        room = Rehearsal.of(recipe, backend.name, device, place, tokens.train, tokens.held_out)
        recipe = room.with_tokens(by_estimate(room, shared=shared)).recipe
    order = Order.of(tokens.train, recipe.train.step_pairs, recipe.train.seed)
    size = recipe.train.pass_size.over(recipe.backend.devices)
    done, total = 0, len(tokens.train) + len(tokens.held_out)
    for step in range(order.steps_per_epoch):
        for pairs in passes(tokens.train, order.pairs(step), size, shared=shared):
            reference.logps(collate(tokens.train, pairs, pad, shared=shared), tokens.train)
            done += len(pairs)
            report("scoring the pairs by the reference", done, total)
    for batch in in_batches(tokens.held_out, recipe.held_out_pass.over(recipe.backend.devices), pad, shared=shared):
        reference.logps(batch, tokens.held_out)
        done += batch.size
        report("scoring the pairs by the reference", done, total)
    return done
