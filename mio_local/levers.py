"""Which savings a run uses: those its recipe asks for, its model allows, and that give the plain path's numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mio_local.backend import Model
from mio_local.batching import collate
from mio_local.chat import Example
from mio_local.lengths import pair_tokens
from mio_local.recipe import PLAIN, SpeedSettings

TOLERANCE = 5e-5  # nats per token; float32 rounding stays below a tenth of it
HALF_TOLERANCE = 0.05  # where a model computes in 16 bits; a wrong mask is worth more
SCORED = ("share_prompt", "answer_head", "lean_adapter")  # the levers that change how an answer is scored


@dataclass(frozen=True)
class Levers:
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
        reasons = [f"{lever} is off: {why}" for lever, why in self.refused.items() if lever != "frozen_once"]
        return "; ".join(reasons)


def settle(model: Model, wanted: SpeedSettings, examples: Sequence[Example], pad: int) -> Levers:
    """Score two real pairs with the levers and without, and leave out what makes a difference; the model uses the rest.

    A short pair and one of lower-quartile length: on the plain path they need all their logits at once.
    """
    refused = model.use(wanted)
    speed = wanted.without(refused)
    if not any(getattr(speed, lever) for lever in SCORED):
        return Levers(speed, refused)
    by_length = sorted(examples, key=pair_tokens)
    pairs = [by_length[len(by_length) // 4], by_length[0]]
    expected = _logps(model, PLAIN, pairs, pad)
    if _differ(model, _logps(model, speed, pairs, pad), expected, pairs) is not None:
        for lever in SCORED:
            alone = PLAIN.model_copy(update={lever: getattr(speed, lever)})
            if (off := _differ(model, _logps(model, alone, pairs, pad), expected, pairs)) is not None:
                refused[lever] = f"its log-probs differ from the plain path's by {off:.2g} nats per token"
        if not any(lever in refused for lever in SCORED):
            refused |= dict.fromkeys(SCORED, "together their log-probs differ from the plain path's")
        speed = speed.without(refused)
    model.use(speed)
    return Levers(speed, refused)


def _logps(model: Model, speed: SpeedSettings, pairs: Sequence[Example], pad: int) -> np.ndarray:
    model.use(speed)
    batch = collate(pairs, range(len(pairs)), pad, shared=speed.share_prompt)
    return model.logps(batch, reference=False)


def _differ(model: Model, found: np.ndarray, expected: np.ndarray, pairs: Sequence[Example]) -> float | None:
    """The largest difference in nats per token, where it is more than rounding."""
    tokens = np.array([len(e.chosen) for e in pairs] + [len(e.rejected) for e in pairs])
    off = float(np.max(np.abs(found - expected) / tokens))
    return None if off <= (HALF_TOLERANCE if model.half else TOLERANCE) else off
