"""What follows from the settings, in a few words beside them."""

import math

from mio_local.losses import LOSSES
from mio_tui.new.draft import Draft
from mio_tui.new.state import Data
from mio_tui.text import number


def facts(draft: Draft, data: Data) -> dict[str, str]:
    """Words by key; pairs are those to train on, counted once the statistics are there."""
    value = draft.value
    found = {"loss.beta": beta_words(draft)}
    batch, accumulate = int(value("train.batch_size")), int(value("train.accumulate"))
    found["train.accumulate"] = f"{batch} × {accumulate} = {batch * accumulate} pairs per update"
    epochs, steps, pairs = float(value("train.epochs")), int(value("train.steps")), data.pairs if data.summary else 0
    each = math.ceil(pairs / (batch * accumulate))
    if steps:
        found["train.epochs"] = "steps is given, so this is ignored"
        found["train.steps"] = f"= {number(steps / each, '.1f')} epochs of {pairs:,} pairs" if pairs else ""
    elif pairs:
        found["train.epochs"] = f"= {math.ceil(epochs * each):,} steps: {pairs:,} pairs, {batch * accumulate} an update"
        found["train.steps"] = "0 counts them from epochs"
    if data.summary:
        share = number(data.summary.get("truncated_share"), ".1%")
        found["data.max_tokens"] = f"{share} of the pairs cut; the longest has {data.longest:,}"
    found["lora.alpha"] = f"scale alpha / rank = {number(value('lora.alpha') / value('lora.rank'), '.3g')}"
    return found


def beta_words(draft: Draft) -> str:
    """Where beta draws the chosen answers, for an objective that has such a place."""
    beta = float(draft.value("loss.beta"))
    target = LOSSES["mio" if draft.both else draft.value("loss.name")].target(beta)
    words = f"target ln 2 / beta = {number(target)} nats" if target is not None else ""
    return f"MIO {beta:g}, {words}; DPO {beta / 2:g}" if draft.both else words
