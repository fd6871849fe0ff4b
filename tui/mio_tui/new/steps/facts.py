"""What follows from the settings, in a few words beside them."""

import math
from collections.abc import Callable

from mio_local.objectives.losses import LOSSES
from mio_tui.formatting import NONE, number
from mio_tui.new.draft import Draft
from mio_tui.new.state import Data


def facts(draft: Draft, data: Data) -> dict[str, str]:
    """Words by key; pairs are those to train on, counted once the statistics are there."""
    value = draft.value
    batch, accumulate = int(value("train.batch_size")), int(value("train.accumulate"))
    update = batch * accumulate
    found = {
        "loss.beta": said(lambda: beta_words(draft)),
        "train.accumulate": said(lambda: f"{batch} × {accumulate} = {update} pairs per update"),
        "lora.alpha": said(lambda: scale_words(draft)),
    }
    epochs, steps, pairs = float(value("train.epochs")), int(value("train.steps")), data.pairs if data.summary else 0
    each = -(-pairs // update)
    if steps:
        found["train.epochs"] = "steps is given, so this is ignored"
        words = said(lambda: f"= {number(steps / each, '.1f')} epochs of {pairs:,} pairs")
        found["train.steps"] = words if pairs else ""
    elif pairs:
        words = said(lambda: f"= {math.ceil(epochs * each):,} steps: {pairs:,} pairs, {update} an update")
        found["train.epochs"] = words
        found["train.steps"] = "0 counts them from epochs"
    if data.summary:
        share = number(data.summary.get("truncated_share"), ".1%")
        found["data.max_tokens"] = f"{share} of the pairs cut; the longest has {data.longest:,}"
    for key in draft.values:
        if many := draft.several(key):
            found[key] = f"{len(many)} values: a run for each"
    return found


def said(words: Callable[[], str]) -> str:
    """What `words` returns; a dash where the figures that were typed are too large to reckon with."""
    try:
        return words()
    except (ArithmeticError, ValueError):  # the latter from writing out thousands of digits
        return NONE


def scale_words(draft: Draft) -> str:
    """What the adapter is multiplied by."""
    rank, stable = draft.value("lora.rank"), draft.value("lora.rslora")
    scale = draft.value("lora.alpha") / (math.sqrt(rank) if stable else rank)
    return f"scale alpha / {'sqrt(rank)' if stable else 'rank'} = {number(scale, '.3g')}"


def beta_words(draft: Draft) -> str:
    """Where beta draws the chosen answers, for an objective that has such a place."""
    beta = float(draft.value("loss.beta"))
    target = LOSSES["mio" if draft.both else draft.value("loss.name")].target(beta)
    words = f"target ln 2 / beta = {number(target)} nats" if target is not None else ""
    return f"MIO {beta:g}, {words}; DPO {beta / 2:g}" if draft.both else words
