"""What a person should be told while a run goes on: each check yields a note, in words that say what to do."""

import math
from collections.abc import Iterable

from mio_local.data.examples import Tokenised
from mio_local.data.templating.coverage import told
from mio_local.objectives.intervals import SURE
from mio_local.objectives.losses import LOSSES
from mio_local.objectives.metrics import Metrics
from mio_local.recipe import LossSettings, Recipe
from mio_local.runs.events import Event
from mio_local.text import visible_line

BELOW_LIMIT = 3  # evaluations in a row
TRUNCATED_SHARE = 0.05
START_TOLERANCE = 0.01  # relative; bfloat16 rounding stays below it


def note(step: int, level: str, code: str, text: str) -> Event:
    """A health note."""
    return Event("note", step, {"level": level, "code": code, "text": text})


def speed_notes(*reasons: str) -> list[Event]:
    """At the start: which savings are not to be had, if any."""
    texts = [f"{reason}; the numbers are the same, only slower" for reason in reasons if reason]
    return [note(0, "info", "speed", text) for text in texts]


def base_notes(recipe: Recipe) -> list[Event]:
    """At the start: that 8 bits are slow where bitsandbytes computes with them on a GPU, as it reads from there in each
    layer whether any input is large."""
    where = recipe.backend
    if recipe.model.quantize != 8 or where.name != "cuda" or where.device in ("cpu", "mps"):
        return []
    text = "an 8-bit base waits for the GPU in every layer (bitsandbytes looks for outliers); --quantize 4 does not"
    return [note(0, "info", "speed", text)]


def cache_notes(step: int, damaged: int) -> list[Event]:
    """At the start: how many log-probs of the reference that were kept are damaged."""
    text = f"{damaged} of the reference's log-probs that were kept on disk are damaged, and are computed again"
    return [note(step, "warning", "cache", text)] if damaged else []


def data_notes(counts: Tokenised, max_tokens: int) -> list[Event]:
    """At the start: how many pairs were cut or left out."""
    notes: list[Event] = []
    if counts.truncated:
        share = counts.truncated / max(1, counts.pairs)
        level = "warning" if share > TRUNCATED_SHARE else "info"
        text = f"{counts.truncated} of {counts.pairs} pairs ({share:.0%}) have an answer cut at {max_tokens} tokens"
        notes.append(note(0, level, "truncated", text + "; raise --max-tokens to keep their ends"))
    if counts.skipped:
        notes.append(note(0, "info", "skipped", f"{counts.skipped} rows were left out; mio-local data check says why"))
    if counts.unused:
        named = visible_line(", ".join(counts.unused), 300)
        notes.append(note(0, "info", "unused", f"columns that are not used: {named}"))
    notes += [note(0, "warning", "groups", line) for line in counts.notes]
    return notes + [note(0, "warning", "lost", line) for line in told(counts.lost)]


def held_out_notes(pairs: int, prompts: int = 0) -> list[Event]:
    """At the start: that nothing will judge the run, where no pair is held out: there is only one prompt, say. Of
    `prompts` of rounds the reward is measured, though no pair may have come of them."""
    if not pairs and prompts:
        text = f"no pair came of the {prompts} held-out prompts, so their reward alone says whether this goes well"
        return [note(0, "info", "held_out", text)]
    text = "no pairs are held out, so nothing says whether this goes well; give some with --eval-data"
    return [] if pairs else [note(0, "warning", "held_out", text)]


def adapter_notes(told: Iterable[tuple[str, str]]) -> list[Event]:
    """At the start: what the adapter leaves out, and what it cannot become, each by its level."""
    return [note(0, level, "adapter", text) for level, text in told]


def start_note(step: int, metrics: Metrics, loss: LossSettings, *, forced: bool = False) -> Event | None:
    """Before anything was learnt the loss has a known value; another one means policy and reference differ. That ends
    the run, unless it is `forced`."""
    expected = LOSSES[loss.name].start(loss.beta)
    if expected is None or abs(metrics["loss"] - expected) <= START_TOLERANCE * abs(expected):
        return None
    text = f"the first loss is {metrics['loss']:.4f}, not {expected:.4f}: policy and reference differ at the start"
    return note(step, "warning" if forced else "error", "start", text + ("" if forced else "; --force trains anyway"))


def still_note(step: int) -> Event:
    """No parameter moved in the first step."""
    return note(step, "error", "still", "no adapter weight moved in the first step: nothing is being learnt")


def nonfinite_note(step: int, value: float, what: str) -> Event:
    """A loss or a gradient is no number."""
    text = f"the {what} after step {step} is {value}, not a finite number; try a lower --learning-rate"
    return note(step, "error", "nonfinite", text)


def sinking(metrics: Metrics) -> bool:
    """Whether the held-out chosen answers are less likely than under the reference, by more than chance where their
    standard error tells what chance may do."""
    chance = SURE * metrics.get("delta/chosen_stderr", math.nan)
    return metrics["delta/chosen"] < -(chance if math.isfinite(chance) else 0)


def below_note(step: int, below: int, metrics: Metrics, loss: LossSettings) -> Event | None:
    """The held-out chosen answers have been less likely than under the reference for several evaluations."""
    if below != BELOW_LIMIT:
        return None
    other = "" if LOSSES[loss.name].target(loss.beta) else " or --loss mio"
    text = (
        f"held-out chosen answers have been less likely than under the reference for {below} evaluations "
        f"({metrics['delta/chosen']:+.2f} nats now); a lower --learning-rate{other} may hold them up"
    )
    return note(step, "warning", "below", text)
