"""Which savings a run uses: those its recipe asks for, its model allows, and that give the plain path's numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mio_local.backends import Model
from mio_local.data.collate import collate
from mio_local.data.examples import Example, by_length, lengths_of
from mio_local.errors import lacks_memory, one_line
from mio_local.objectives.losses import objective
from mio_local.recipe import PLAIN, UNTOLD, SpeedSettings

TOLERANCE = 5e-5  # nats per token; float32 rounding stays below a tenth of it
HALF_TOLERANCE = 0.05  # where a model computes in 16 bits; a wrong mask is worth more
SCORED = ("share_prompt", "answer_head", "lean_adapter", "fused_layers")  # by which an answer is scored otherwise
GOAL = objective("mio", 0.1, "sum")  # any: its gradient is not used


@dataclass(frozen=True)
class Optimizations:
    """The settings in use, and by lever why one that was asked for is not."""

    speed: SpeedSettings = PLAIN
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def on(self) -> list[str]:
        """Names of the levers in use."""
        return [key for key, value in self.speed if value]

    @property
    def text(self) -> str:
        """What was asked for and is not done, in words; empty where all is."""
        return "; ".join(f"{lever} is off: {why}" for lever, why in self.refused.items() if why not in UNTOLD)


def settle(model: Model, wanted: SpeedSettings, examples: Sequence[Example], pad: int) -> Optimizations:
    """Score two real pairs with the levers and without, and leave out what makes a difference or fails; the model uses
    the rest.

    A short pair and one of lower-quartile length: on the plain path they need all their logits at once.
    """
    refused = model.use(wanted)
    speed = wanted.without(refused)
    order = by_length(examples)
    pairs = [examples[order[len(order) // 4]], examples[order[0]]]

    def scored(speed: SpeedSettings) -> np.ndarray:
        batch = collate(pairs, range(len(pairs)), pad, shared=speed.share_prompt)
        model.use(speed)
        return model.logps(batch, reference=False)

    def trained(speed: SpeedSettings) -> np.ndarray:
        batch = collate(pairs, [0], pad, shared=speed.share_prompt)  # one: no step of a run takes less memory
        model.use(speed)
        return model.rehearse(batch, GOAL).logps

    if any(getattr(speed, lever) for lever in SCORED):
        expected = scored(PLAIN)
        if _fault(model, lambda: scored(speed), expected, pairs):
            for lever in SCORED:
                alone = PLAIN.model_copy(update={lever: getattr(speed, lever)})
                if fault := _fault(model, lambda alone=alone: scored(alone), expected, pairs):
                    refused[lever] = fault
            if not any(lever in refused for lever in SCORED):
                refused |= dict.fromkeys(SCORED, "together their log-probs differ from the plain path's")
            speed = speed.without(refused)
    if speed.frozen_once:  # of use in a step alone, where policy follows reference
        expected = trained(speed.without(["frozen_once"]))
        if fault := _fault(model, lambda: trained(speed), expected, pairs[:1]):
            refused["frozen_once"] = fault
            speed = speed.without(refused)
    model.use(speed)
    return Optimizations(speed, refused)


def _fault(
    model: Model, score: Callable[[], np.ndarray], expected: np.ndarray, pairs: Sequence[Example]
) -> str:
    """What is wrong with the log-probs that `score` gives, in words; empty where they are as expected to rounding."""
    tokens = np.maximum(lengths_of(pairs)[:, 1:].T.ravel(), 1)  # of an absent answer 0
    try:
        off = float(np.max(np.abs(score() - expected) / tokens))
    except Exception as error:  # whatever a model of another build than the lever knows makes it meet
        if lacks_memory(error):
            raise
        return f"it fails: {type(error).__name__}: {one_line(error, 120)}"
    if off <= (HALF_TOLERANCE if model.half else TOLERANCE):
        return ""
    return f"its log-probs differ from the plain path's by {off:.2g} nats per token"
