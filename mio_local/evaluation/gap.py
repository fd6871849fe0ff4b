"""How far a policy is from the best that its rewards allow, and whether it lacks rank or training. The formulas are
in `objectives.optimal_policy`."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mio_local.backends import Model
from mio_local.data.collate import collate
from mio_local.data.examples import Example
from mio_local.data.template import Chat
from mio_local.errors import DataError
from mio_local.learning import MakeSettings
from mio_local.making.answered import Asked, Judge
from mio_local.making.drawing import draw_now
from mio_local.making.prompts import prompt_ids
from mio_local.objectives.losses import objective
from mio_local.objectives.optimal_policy import Gap, log_partition, value
from mio_local.progress import Report
from mio_local.sampling import Draws

STEPS = 24  # of a training on one prompt alone, at most
WINDOW = 4  # of them, whose mean values are compared: it goes on while the last ones' is above those before


@dataclass(frozen=True)
class Trial:
    """A policy and what it is measured by. `beta` is the strength of the tie to the reference, `rate` the learning rate
    of the trainings on one prompt, `seed` that of the draws."""

    model: Model
    chat: Chat
    judge: Judge
    settings: MakeSettings
    beta: float
    rate: float
    seed: int

    def drawn(self, asked: Asked, draw: int, *, reference: bool = False) -> tuple[list[list[int]], np.ndarray]:
        """Answers to a prompt, those that the judge rewards, and their rewards."""
        s = self.settings
        draws = Draws(s.answers, (1.0,), 1.0, s.answer_tokens, self.seed + draw, s.rows)
        (ids,), answered = draw_now(self.model, self.chat, [asked], draws, reference=reference)
        (rewards,) = self.judge.judge(answered)
        known = [(answer, reward) for answer, reward in zip(ids, rewards, strict=True) if reward is not None and answer]
        return [answer for answer, _ in known], np.array([reward for _, reward in known], np.float64)

    def value(self, asked: Asked, answers: Sequence[Sequence[int]], rewards: np.ndarray) -> float:
        """E_pi [R/beta - log pi/ref] by answers that the policy drew."""
        rows = [(prompt_ids(self.chat, asked), list(answer)) for answer in answers]
        policy, reference = (
            np.array([logp for logp, _ in self.model.score(rows, reference=of)], np.float64) for of in (False, True)
        )
        return value(rewards, policy - reference, self.beta)

    def alone(self, asked: Asked) -> float | None:
        """The value once the adapter was trained on this prompt alone, by RLOO on its own answers, until that is no
        gain; None where the judge rewards too few answers. The adapter is another afterwards."""
        goal, found = objective("rloo", self.beta, "sum"), list[float]()
        prompt = prompt_ids(self.chat, asked)
        for step in range(STEPS):
            answers, rewards = self.drawn(asked, 1000 + step)
            if len(answers) < 2:
                return None
            found.append(self.value(asked, answers, rewards))
            if len(found) >= 2 * WINDOW and np.mean(found[-WINDOW:]) <= np.mean(found[-2 * WINDOW : -WINDOW]):
                break
            first, second, *others = answers
            known = tuple(map(float, rewards))
            group = Example(
                prompt, first, second, False, False, False, asked.where, others=tuple(others), rewards=known
            )
            batch = collate([group], [0], self.chat.pad)
            self.model.accumulate(batch, self.model.logps(batch, reference=True), goal, 1.0)
            self.model.apply(self.rate)
        answers, rewards = self.drawn(asked, 999)
        return self.value(asked, answers, rewards) if len(answers) > 1 else None


def measure(trial: Trial, asked: Sequence[Asked], report: Report, *, split: bool = True) -> Gap:
    """The gap over these prompts; with `split` its two parts too, for which the adapter is trained on each prompt and
    then put back. Raises DataError where the judge rewards no answers of theirs."""
    gaps: list[float] = []
    alone: list[float] = []
    with tempfile.TemporaryDirectory(prefix="mio-local-") as folder:
        if split:
            trial.model.save_state(Path(folder))
        for done, one in enumerate(asked):
            report("measuring the gap", done, len(asked))
            _, base = trial.drawn(one, 0, reference=True)
            answers, rewards = trial.drawn(one, 1)
            if len(base) < 2 or len(answers) < 2:
                continue
            best = log_partition(base, trial.beta)
            gaps.append(best - trial.value(one, answers, rewards))
            if split:
                reached = trial.alone(one)
                alone.append(math.inf if reached is None else best - reached)
                trial.model.restore_state(Path(folder))
    if not gaps:
        raise DataError("--gap: the judge rewards no answers to these prompts; name another, or other --prompts")
    return Gap.of(gaps, alone if split else None)


def sentence(gap: Gap) -> str:
    """What the gap says, in words."""
    said = f"{gap.total:.2f} nats from the best policy that the rewards allow (at least: {gap.prompts} prompts)"
    if gap.approximation is None or gap.amortisation is None:
        return said
    rank = max(gap.approximation, 0.0)
    return f"{said}: more rank would give at most {rank:.2f} nats, more training {gap.amortisation:.2f}"
