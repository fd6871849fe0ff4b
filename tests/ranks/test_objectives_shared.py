"""Every objective on several ranks as on one: what couples the answers of a group, or the pairs of a step as KTO's
baseline does, is computed over all of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mio_local.adapters.adapter import read_adapter
from mio_local.objectives.losses import LOSSES
from mio_local.recipe import build
from mio_local.runs.directory import Run
from mio_local.training.loop import train
from mio_local.training.prepare import start
from mio_local.training.steps import optimiser_step
from mio_local.training.steps.mismatched_answers import divergence
from tests.helpers.fakes import read_events
from tests.helpers.ranks.ranked_runs import check_same_curve, tables
from tests.helpers.ranks.thread_ranks import thread_ranks
from tests.helpers.some import fast

CASES = [*((name, 1) for name in LOSSES), ("mio", 3), ("dpo", 2), ("copg", 3)]  # the most rejected answers
NEAR = {"rtol": 1e-5, "atol": 1e-5}  # some of these losses are of squares, or of hundreds of nats


def rows(needs: str) -> list[dict[str, Any]]:
    """15 groups of mixed lengths, as an objective needs them: of two to four answers, with rewards or with labels."""
    found = list[dict[str, Any]]()
    for n in range(15):
        prompt = f"What is {n}" + " and more" * (n % 5) + "?"
        answers = [f"{word} {n}" * (1 + (n + at) % 4) for at, word in enumerate(("yes", "no", "perhaps", "never"))]
        answers = answers[: 2 + n % 3]
        if needs == "pairs":
            found.append({"prompt": prompt, "chosen": answers[0], "rejected": answers[1:]})
        elif needs == "labels":
            found += [{"prompt": prompt, "completion": answers[n % 2], "label": n % 3 > 0}]
        else:
            rewards = [(7 * n + 3 * at) % 10 / 10 + 2 * (at == 0) for at in range(len(answers))]
            found.append({"prompt": prompt, "answers": answers, "rewards": rewards})
    return found


@pytest.fixture
def recipe(tmp_path: Path, tiny_model: Path) -> Callable[..., dict[str, Any]]:
    """Five steps of five groups by that loss."""

    def made(name: str, **more: Any) -> dict[str, Any]:
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows(LOSSES[name].needs)), encoding="utf-8")
        found = tables(tiny_model, file, "cuda", steps=5, batch_size=1, accumulate=5, save_every=0)
        found["eval"] |= {"every": 5, "sample_tokens": 0}
        return found | {"loss": {"name": name, **more}}

    return made


def trained(folder: Path, recipe: dict[str, Any], ranks: int) -> Run:
    """A run in this process, on so many ranks."""
    given = recipe | {"backend": recipe["backend"] | {"devices": ranks}}
    job = start(build(given, "test"), folder / "runs", f"on-{ranks}")
    list(train(job))
    return job.run


@pytest.mark.parametrize("case", fast(CASES, [("mio", 3)]), ids=lambda case: f"{case[0]}-{case[1]}")
def test_an_objective_is_the_same_on_several_ranks(tmp_path, recipe, monkeypatch, case):
    name, negatives = case
    given = recipe(name, negatives=negatives)
    alone = trained(tmp_path, given, 1)
    with thread_ranks(monkeypatch) as fed:
        ranked = trained(tmp_path, given, 3)
    assert {one.rank for one in fed if one.what == "accumulate"} == {0, 1, 2}
    check_same_curve(ranked, alone, NEAR)
    losses = [event["loss"] for event in read_events(alone.events) if event["type"] == "step"]
    assert len(set(losses)) == 5
    one, same = (read_adapter(run.adapter).weights for run in (alone, ranked))
    assert max(np.abs(one[key] - same[key]).max() for key in one) < 1e-5


def test_ktos_baseline_is_over_the_whole_step(tmp_path, recipe, monkeypatch):
    found: dict[int, list[float]] = {1: [], 3: []}

    def heard(job: Any, *given: Any) -> float:
        found[job.recipe.backend.devices].append(divergence(job, *given))
        return found[job.recipe.backend.devices][-1]

    monkeypatch.setattr(optimiser_step, "divergence", heard)
    given = recipe("kto")
    given["train"]["learning_rate"] = 1e-2
    alone = trained(tmp_path, given, 1)
    with thread_ranks(monkeypatch):
        ranked = trained(tmp_path, given, 3)
    assert sum(value > 0.01 for value in found[1]) >= 3
    np.testing.assert_allclose(found[3], found[1], atol=1e-3)
    check_same_curve(ranked, alone, NEAR)
