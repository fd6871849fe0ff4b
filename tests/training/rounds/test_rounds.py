"""Rounds: what a run draws, judges and trains on goes on to the bit wherever it dies; each objective gets its data."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mio_local.data.tokenise import chat_of
from mio_local.errors import DataError, RunError
from mio_local.making.drawing import answered_of
from mio_local.recipe import build
from mio_local.runs.control import request
from mio_local.training.loop import train
from mio_local.training.prepare import start
from mio_local.training.reopen import reopen
from mio_local.training.rounds.run_prompts import of_round, split_prompts
from tests.helpers.backends import need_library
from tests.training.test_resume import backend, files, repeatable, run_through

__all__ = ["backend"]  # a fixture


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Twelve prompts."""
    file = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"Say a letter, {n}.", "answer": "aeiou"[n % 5]} for n in range(12)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def tables(model: Path, prompts: Path, backend: str, **loss: Any) -> dict[str, Any]:
    """Three rounds of four prompts, in two chunks each."""
    return {
        "model": {"name": str(model)},
        "data": {"source": str(prompts), "eval_fraction": 0.2},
        "lora": {"rank": 4, "alpha": 8},
        "loss": {"name": "mio"} | loss,
        "train": {"rounds": 3, "batch_size": 2, "learning_rate": 1e-2, "save_every": 2},
        "make": {"answers": 3, "answer_tokens": 4, "judge": "regex:(.)", "per_round": 4, "rows": 2},
        "eval": {"every": 3, "sample_tokens": 4},
        "backend": {"name": backend, "device": "cpu"},
    }


class ByLetter:
    """A judge whose reward is a number for every text: rewards that tie are rare. All are counted as without one."""

    name, kind, threshold = "letter", "answers", None

    def __init__(self) -> None:
        self.unjudged: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def judge(self, answered: Any) -> list[tuple[float, ...]]:
        self.unjudged["of no judge"] += sum(len(one.answers) for one in answered)
        return [tuple(sum(map(ord, text)) % 97 / 97 for text in one.answers) for one in answered]

    def pairs(self, answered: Any, rewards: Any) -> list[list[Any]]:
        return [[] for _ in answered]

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge by the letters, and take answers as whole: a random model ends none within a few tokens."""
    monkeypatch.setattr("mio_local.training.rounds.begin_rounds.judge_of", lambda *_, **__: ByLetter())
    whole = lambda *given: replace(answered_of(*given), cut=(False,) * len(given[2]))  # noqa: E731
    monkeypatch.setattr("mio_local.making.make.answered_of", whole)


@pytest.mark.parametrize("loss", [
    pytest.param({"name": "mio", "reference": "previous"}, id="mio"),
    pytest.param({"name": "rloo", "beta": 0.05}, id="rloo", marks=pytest.mark.slow),
    pytest.param({"name": "kto"}, id="kto", marks=pytest.mark.slow),
    pytest.param({"name": "copg", "negatives": 2}, id="copg", marks=pytest.mark.slow),
    pytest.param({"name": "raft"}, id="raft", marks=pytest.mark.slow),
])  # fmt: skip
def test_a_run_of_rounds_that_dies_anywhere_goes_on_to_the_bit(
    tmp_path: Path, tiny_model: Path, prompts: Path, backend: str, loss: dict[str, Any]
) -> None:
    """It leaves the loop for good after some events, again and again; drawing and judging count as events too."""
    given = tables(tiny_model, prompts, backend, **loss)
    straight = run_through(tmp_path, "straight", given)
    kinds = Counter(event["type"] for event in repeatable(straight))
    rounds = [event for event in repeatable(straight) if event["type"] == "round"]
    assert [event["unjudged"] for event in rounds] == [event["answers"] for event in rounds] == [12] * 3
    assert kinds["step"] >= 3
    assert repeatable(straight)[-1]["state"] == "done"
    job = start(build(given, "test"), tmp_path, "broken")
    for seen in (4, 11, 5, 9):
        events = train(job)
        for _ in range(seen):
            next(events, None)
        events.close()
        job = reopen(job.run)
    list(train(job))
    assert repeatable(job.run) == repeatable(straight)
    assert files(job.run.adapter) == files(straight.adapter)


@pytest.mark.slow
def test_answers_of_another_policy_are_drawn_anew(
    tmp_path: Path, tiny_model: Path, prompts: Path, backend: str
) -> None:
    """A file of a round that is not of this policy, or damaged, changes nothing, but where its steps were taken."""
    given = tables(tiny_model, prompts, backend)
    straight = run_through(tmp_path, "straight", given)
    job = start(build(given, "test"), tmp_path, "odd")
    folder = job.run.path / "rounds"
    folder.mkdir()
    other = (straight.path / "rounds" / "round-0003.jsonl").read_bytes()
    (folder / "round-0001.jsonl").write_bytes(other)
    events = train(job)
    while next(events).type != "step":
        pass
    events.close()
    list(train(reopen(job.run)))
    assert repeatable(job.run) == repeatable(straight)


def test_a_round_whose_steps_were_taken_must_be_what_it_was(
    tmp_path: Path, tiny_model: Path, prompts: Path, backend: str
) -> None:
    given = tables(tiny_model, prompts, backend)
    given["train"] = {"rounds": 2, "batch_size": 1, "steps": 4, "save_every": 1}
    job = start(build(given, "test"), tmp_path, "odd")
    events = train(job)
    while next(events).type != "checkpoint":
        pass
    next(events)
    events.close()
    other = start(build(given | {"make": given["make"] | {"temperature": [1.3]}}, "test"), tmp_path, "other")
    list(train(other))
    file = "rounds/round-0001.jsonl"
    (job.run.path / file).write_bytes((other.run.path / file).read_bytes())
    with pytest.raises(RunError, match=r"round-0001\.jsonl: .*steps since were trained on.* start a new run"):
        list(train(reopen(job.run)))


@pytest.mark.slow
def test_a_stop_while_answers_are_drawn_keeps_them(
    tmp_path: Path, tiny_model: Path, prompts: Path, backend: str
) -> None:
    given = tables(tiny_model, prompts, backend)
    straight = run_through(tmp_path, "straight", given)
    job = start(build(given, "test"), tmp_path, "stopped")
    asked = ""
    for event in train(job):
        if event.type == "progress" and "round 2" in str(event.values.get("what")) and not asked:
            asked = request(job.run.control, "stop")
    assert job.run.read_status()["state"] == "stopped"
    list(train(reopen(job.run)))
    steps = [event for event in repeatable(job.run) if event["type"] in ("step", "round", "eval")]
    assert steps == [event for event in repeatable(straight) if event["type"] in ("step", "round", "eval")]
    assert files(job.run.adapter) == files(straight.adapter)


def test_each_pass_takes_every_prompt_once_and_the_held_out_ones_never(tiny_model: Path, prompts: Path) -> None:
    recipe = build({"data": {"source": str(prompts), "eval_fraction": 0.25}, "train": {"rounds": 5}}, "test")
    train_on, held_out, *_ = split_prompts(recipe, chat_of(recipe.model, recipe.data, tiny_model))
    assert (len(train_on), len(held_out)) == (9, 3)
    assert not {one.where for one in train_on} & {one.where for one in held_out}
    drawn = [one.where for number in range(6) for one in of_round(train_on, number, 3, seed=1)]
    assert sorted(drawn[:9]) == sorted(drawn[9:]) == sorted(one.where for one in train_on)
    assert drawn[:9] != drawn[9:]


@pytest.mark.parametrize("choice", ["skip", "cut"])
def test_a_prompt_without_room_for_an_answer_is_told_and_left_out_or_cut(
    tiny_model: Path, tmp_path: Path, choice: str
) -> None:
    file = tmp_path / "long.jsonl"
    rows = [{"prompt": "word " * 100, "answer": "a"}, *({"prompt": letter, "answer": "c"} for letter in "bdfg")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(name: str, **data: Any) -> Any:
        data = {"source": str(file), "max_tokens": 64, "eval_fraction": 0, **data}
        return start(build(tables(tiny_model, file, "auto") | {"data": data}, "test"), tmp_path, name)

    with pytest.raises(DataError, match=r"long\.jsonl line 1: its prompt has .* --max-tokens 64"):
        run("no")
    job = run("yes", long_prompt=choice)
    assert len(job.examples) == (4 if choice == "skip" else 5)
    list(train(job))
    told = [event["text"] for event in repeatable(job.run) if event["type"] == "note"]
    assert any(("skipped: prompt is too long" if choice == "skip" else "cut at their start") in text for text in told)


@pytest.mark.parametrize("loss", ["rloo", "copg", "raft"])
def test_held_out_pairs_of_ones_own_need_no_rewards(
    tmp_path: Path, tiny_model: Path, tiny_pairs: Path, prompts: Path, loss: str
) -> None:
    """An objective of rewards has no loss there; likelihoods and accuracy are measured all the same."""
    need_library("mlx")
    given = tables(tiny_model, prompts, "mlx", name=loss)
    given["data"] |= {"eval_source": str(tiny_pairs)}
    given["train"] |= {"rounds": 1}
    job = start(build(given, "test"), tmp_path, "own")
    list(train(job))
    assert job.run.read_status()["state"] == "done"
    evals = [event for event in repeatable(job.run) if event["type"] == "eval"]
    assert [event["pairs"] for event in evals] == [24] * len(evals)
    assert all(event["delta/chosen"] is not None for event in evals)
    assert [event["loss"] is None for event in evals] == [loss != "raft"] * len(evals)


def test_the_judge_begins_once_and_is_ended_with_the_run(
    tmp_path: Path, tiny_model: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reward model takes seconds to load, and a reward function is a process."""
    need_library("mlx")
    seen: list[str] = []
    begun = lambda self: seen.append("begun") or vars(self).update(unjudged=Counter(), dropped=Counter())  # noqa: E731
    monkeypatch.setattr(ByLetter, "__init__", begun)
    monkeypatch.setattr(ByLetter, "close", lambda self: seen.append("ended"))
    given = tables(tiny_model, prompts, "mlx")
    given["train"] |= {"rounds": 1}
    job = start(build(given, "test"), tmp_path, "once")
    list(train(job))
    assert seen == ["begun", "ended"]
    given["data"] |= {"max_tokens": 8}  # no room for an answer
    with pytest.raises(DataError):
        start(build(given, "test"), tmp_path, "never")
    assert seen == ["begun", "ended"] * 2


@pytest.mark.parametrize("loss", ["mio", "rloo"])
def test_the_best_checkpoint_is_that_of_the_greatest_held_out_reward(
    tiny_model: Path, tmp_path: Path, prompts: Path, loss: str
) -> None:
    """Asked for, and by itself where the objective learns from samples."""
    given = tables(tiny_model, prompts, "auto", name=loss)
    if loss == "mio":
        given["eval"] = {**given["eval"], "metric": "reward/held_out"}
    job = start(build(given, "test"), tmp_path, "best")
    list(train(job))
    rewards = [(event["reward/held_out"], event["step"]) for event in repeatable(job.run) if event["type"] == "reward"]
    assert len({reward for reward, _ in rewards}) > 1
    best = max(rewards, key=lambda one: (one[0], -one[1]))
    assert (job.progress.best, job.progress.best_step) == best
