"""The base on its device, with its adapter and the savings that give its plain path's numbers: ready to be trained."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mio_local.adapters.adapter import SavedAdapter, choose_layers, draw_adapter
from mio_local.adapters.terms import check_patterns
from mio_local.backends import Backend, Model
from mio_local.data.collate import collate
from mio_local.data.examples import by_length
from mio_local.data.tokenise import Tokens
from mio_local.errors import ModelError
from mio_local.memory.fitting import allowed
from mio_local.memory.pass_tokens import largest
from mio_local.memory.rehearsal import Rehearsal
from mio_local.models.weights import stored_weights
from mio_local.progress import Report
from mio_local.ranks.leader import load_on_ranks
from mio_local.recipe import Recipe
from mio_local.training.optimizations import Optimizations, settle


def load(backend: Backend, recipe: Recipe, place: Path) -> Model:
    """The base model on its device, or on each of its ranks', held to the recipe's memory limit from here on."""
    train, given = recipe.train, recipe.backend.memory_limit
    limit = allowed(recipe, "") if given not in ("auto", "none") else 0
    if limit:
        backend.limit_memory(recipe.backend.device, limit)
    if recipe.backend.devices > 1:
        return load_on_ranks(backend, recipe, place, limit)
    return backend.load(
        place, recipe.model, recipe.backend.device, grad_checkpoint=train.grad_checkpoint, seed=train.seed
    )


def layers_of(model: Model, recipe: Recipe, initial: SavedAdapter | None) -> list[str]:
    """The layers to adapt: `initial`'s, else the recipe's. Raises ModelError, RecipeError."""
    if initial:
        return list(initial.fitted(model.linear_layers()).names)
    names = choose_layers(model.linear_layers(), recipe.lora, model.left_out())
    check_patterns(recipe.lora, names)
    return names


def adapt(model: Model, recipe: Recipe, names: Sequence[str], initial: SavedAdapter | None) -> int:
    """Put the adapter on `names`, with `initial`'s weights or fresh ones; the number of trainable weights."""
    initial = initial.fitted(model.linear_layers()) if initial else None
    slots = model.add_lora(recipe.lora, recipe.train, names)
    if initial:
        initial.check_shapes(slots)
    weights = initial.weights if initial else draw_adapter(slots, recipe.train.seed)
    model.set_adapter(weights)
    return sum(value.size for value in model.get_adapter().values())


def check_finite(model: Model, tokens: Tokens, place: Path) -> None:
    """Raise ModelError where the base's log-probs are no finite numbers: nothing could be learnt, at any rate."""
    shortest = by_length(tokens.train)[0]
    if np.isfinite(model.logps(collate(tokens.train, [shortest], tokens.chat.pad), reference=True)).all():
        return
    names, weights = stored_weights(place)
    for name, values in weights:
        if values.dtype.kind not in "iub" and not np.isfinite(values.astype(np.float32)).all():
            raise ModelError(f"{place}: {name}, one of {len(names):,} weights, holds what is no finite number; get "
                             "the model again")  # fmt: skip
    raise ModelError(f"{place}: its log-probs are no finite numbers; try --dtype float32")


def try_out(
    model: Model, recipe: Recipe, tokens: Tokens, rehearsal: Rehearsal, report: Report
) -> tuple[Optimizations, Rehearsal]:
    """The savings that the model uses from here on, once the longest pairs went through it with them where memory may
    run out or has a limit; and the rehearsal, with the number of tokens in a pass where that was to be found."""
    pad = tokens.chat.pad
    report("comparing with the plain path", 0, 0)
    savings = settle(model, recipe.speed, tokens.train, pad)
    report("trying the longest pairs", 0, 0)
    shared = savings.speed.share_prompt
    if recipe.train.batch_tokens == "auto":
        return savings, rehearsal.with_tokens(largest(rehearsal, model, pad, shared=shared))
    rehearsal.rehearse(model, pad, shared=shared)
    return savings, rehearsal
