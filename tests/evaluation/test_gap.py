"""The gap to the optimal policy, on a bandit of six arms where it is known exactly: in all, and in its two parts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mio_local.evaluation.gap import Trial, measure, sentence
from mio_local.learning import MakeSettings
from mio_local.making.answered import Asked
from mio_local.objectives.losses import pair_logps
from mio_local.objectives.optimal_policy import Gap
from mio_local.progress import silent

torch = pytest.importorskip("torch")
ARMS, BETA = 6, 0.5
REF = np.linspace(-1, 1, ARMS) / 2
REWARDS = np.array([0.9, 0.1, 0.6, 0.0, 1.0, 0.3])


class Bandit:
    """A model whose answer is one of the arms, and whose adapter moves the logits along the rows of `directions`."""

    def __init__(self, directions: np.ndarray) -> None:
        self.directions = torch.tensor(directions, dtype=torch.float64)
        self.adapter = torch.zeros(len(directions), dtype=torch.float64, requires_grad=True)
        self.random = np.random.default_rng(0)

    def all_logps(self, *, reference: bool) -> Any:
        moved = 0 if reference else self.adapter @ self.directions
        return torch.log_softmax(torch.tensor(REF) + moved, -1)

    def draw(self, prompts: Any, draws: Any, stop: Any, told: Any, *, reference: bool) -> list[list[list[int]]]:
        chances = self.all_logps(reference=reference).exp().detach().numpy()
        return [[[int(arm)] for arm in self.random.choice(ARMS, draws.answers, p=chances)] for _ in prompts]

    def score(self, rows: Any, *, reference: bool) -> list[tuple[float, bool]]:
        known = self.all_logps(reference=reference).detach().numpy()
        return [(float(known[answer[0]]), False) for _, answer in rows]

    def _rows(self, batch: Any, *, reference: bool) -> Any:
        known = self.all_logps(reference=reference)
        return known[torch.tensor(batch.targets.astype(np.int64))]

    def logps(self, batch: Any, *, reference: bool) -> np.ndarray:
        return self._rows(batch, reference=reference).detach().numpy()

    def accumulate(self, batch: Any, reference: np.ndarray, objective: Any, scale: float) -> None:
        from mio_cuda.xp import XP

        policy = self._rows(batch, reference=False)
        given = (torch.tensor(part) for part in (reference, batch.tokens))
        pairs = pair_logps(policy, *given, batch.size, torch.tensor(batch.rewards))
        (self.gradient,) = torch.autograd.grad(objective(XP, pairs).sum() * scale, self.adapter)

    def apply(self, rate: float) -> float:
        with torch.no_grad():
            self.adapter -= rate * self.gradient
        return 0.0

    def save_state(self, folder: Path) -> None:
        self.kept = self.adapter.detach().clone()

    def restore_state(self, folder: Path) -> None:
        self.adapter = self.kept.clone().requires_grad_()


class Chats:
    end_ids = frozenset(range(ARMS))
    pad = 0
    settings = type("Settings", (), {"system": ""})

    class tokenizer:
        @staticmethod
        def decode(ids: list[int], skip_special_tokens: bool = True) -> str:
            return str(ids[0])

    def generation_prompt(self, prompt: Any, tools: Any = None) -> list[int]:
        return [0]


class ByArm:
    name, kind, threshold, unjudged, dropped = "arm", "answers", None, {}, {}

    def judge(self, answered: Any) -> list[tuple[float, ...]]:
        return [tuple(float(REWARDS[int(text)]) for text in one.answers) for one in answered]

    def pairs(self, answered: Any, rewards: Any) -> list[list[Any]]:
        return [[] for _ in answered]

    def close(self) -> None: ...


def divergence(policy: np.ndarray) -> float:
    """KL(policy || optimal policy) of logits, exactly."""
    log_policy = policy - np.log(np.exp(policy).sum())
    best = REF + REWARDS / BETA
    log_best = best - np.log(np.exp(best).sum())
    return float((np.exp(log_policy) * (log_policy - log_best)).sum())


def measured(directions: np.ndarray, rate: float) -> Gap:
    settings = MakeSettings(answers=400, answer_tokens=1)
    trial = Trial(Bandit(directions), Chats(), ByArm(), settings, BETA, rate, 0)  # pyright: ignore[reportArgumentType]
    return measure(trial, [Asked("which", None, "here")] * 4, silent)


def test_what_training_lacks_is_all_of_it_where_the_adapter_can_express_the_best_policy() -> None:
    gap = measured(np.eye(ARMS), rate=6.0)
    assert gap.total == pytest.approx(divergence(REF), abs=0.1)
    assert gap.approximation == pytest.approx(0, abs=0.08)
    assert gap.amortisation == pytest.approx(divergence(REF), abs=0.15)


def test_what_the_adapter_lacks_is_the_least_divergence_along_its_directions() -> None:
    direction = np.array([[0.0, 1.0, 0.0, 1.0, 1.0, -1.0]])
    least = min(divergence(REF + step * direction[0]) for step in np.linspace(-4, 4, 801))
    assert least > 0.3 * divergence(REF)  # else this would show nothing
    gap = measured(direction, rate=3.0)
    assert gap.approximation == pytest.approx(least, abs=0.1)
    assert gap.amortisation == pytest.approx(divergence(REF) - least, abs=0.15)


def test_it_is_said_in_a_sentence() -> None:
    said = sentence(Gap(2.5, 0.1, 0.4, 0.1, 2.1, 0.1, 8))
    assert said.endswith("more rank would give at most 0.40 nats, more training 2.10")
