"""`mio-local bench`: the settings it tries, what it advises, and a measurement in a process of its own."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from mio_local import printing
from mio_local.bench import trial
from mio_local.bench.measure import WARM_UP
from mio_local.bench.trial import Result, Trial
from mio_local.cli import run
from mio_local.commands import bench
from mio_local.commands.bench import EARLY, LATER, beside, groups_of, resized
from mio_local.errors import BackendError, RecipeError
from mio_local.recipe import PLAIN, SpeedSettings, build
from tests.helpers.backends import backend_of, both, examples

PAIRS = examples(32)


def recipe(backend: str = "cuda", **train: Any) -> Any:
    tables = {"backend": {"name": backend, "device": "cpu"}, "train": {"batch_size": 4, **train}, "lora": {"rank": 4}}
    return build({**tables, "model": {"name": "M"}, "data": {"source": "D"}}, "test")


def result(pairs: float = 10, peak: int = 2 * 10**9, on: tuple[str, ...] = ("share_prompt", "frozen_once")) -> Result:
    return Result(pairs, 100 * pairs, 5e9, 20e9, peak, list(on), {"answer_head": "it has none"})


def rows_of(made: Any, first: Result | str) -> list[Any]:
    return [bench.Row(LATER, made), *beside(made, first, 4)]


def test_one_thing_is_changed_at_a_time() -> None:
    made = recipe()
    rows = beside(made, result(), 3)
    names = [EARLY, "share_prompt off", "frozen_once off", "no savings", "grad_checkpoint on", "batch 2 x2"]
    assert [row.name for row in rows] == names
    by_name = {row.name: row for row in rows}
    assert by_name["share_prompt off"].recipe.speed == SpeedSettings(share_prompt=False)
    # frozen blocks save their second run, and so only where the reference is computed
    assert [name for name, row in by_name.items() if row.reference] == [EARLY, "frozen_once off", "no savings"]
    assert by_name["frozen_once off"].against == EARLY
    assert by_name["no savings"].recipe.speed == PLAIN
    assert by_name["batch 2 x2"].recipe.train.accumulate == 2
    assert by_name["batch 2 x2"].changes == ("--batch-size", "2", "--accumulate", "2")
    assert [row.name for row in beside(made, result(), 2)] == names[:-1]  # half a batch would be the same steps
    tokens = beside(recipe(batch_tokens=600, accumulate=2), result(), 8)[-1]
    assert (tokens.name, tokens.changes) == ("batch_tokens 300", ("--batch-tokens", "300"))
    odd = beside(recipe(batch_size=3, grad_checkpoint=True), "memory ran out", 3)
    assert odd[-1].name == "grad_checkpoint off"
    assert odd[-1].changes == ("--no-grad-checkpoint",)


def test_the_longest_pairs_are_measured_first() -> None:
    groups = groups_of(PAIRS, recipe(), times=3)
    assert [len(group) for group in groups] == [4] * (WARM_UP + 3)
    tokens = sorted(len(e.prompt) + len(e.chosen) + len(e.rejected) for e in PAIRS)
    assert sorted(len(e.prompt) + len(e.chosen) + len(e.rejected) for e in groups[0]) == tokens[-4:]
    halves = resized(groups, 2)
    assert [len(group) for group in halves] == [2] * (2 * len(groups))
    assert sorted(len(e.prompt) + len(e.chosen) + len(e.rejected) for e in halves[0]) == tokens[-2:]
    assert {id(e) for group in halves for e in group} == {id(e) for group in groups for e in group}
    assert resized(groups, 4) == groups
    steps = groups_of(PAIRS, recipe(accumulate=2, batch_tokens=100), times=3)
    assert [len(group) for group in steps] == [8] * (WARM_UP + 3)  # whole steps, which a trial cuts into passes


def advice(capsys: Any, free: int = 0, **changed: Result | str) -> str:
    """What is advised where all rows are alike but those in `changed`, whose names have _ for a space."""
    made = recipe()
    rows = rows_of(made, result())
    found: dict[str, Result | str] = {row.name: result() for row in rows}
    found |= {name.replace("__", " "): one for name, one in changed.items()}
    out = printing.console()
    bench.show(out, rows, found)
    bench.advise(out, rows, found, free)
    return capsys.readouterr().out


TRAIN = "mio-local train --model M --data D --rank 4 --backend cuda --device cpu"


def test_alike_settings_are_left_as_they_are(capsys: Any) -> None:
    told = advice(capsys)
    assert "recommended: the settings as they are; nothing else was 5% faster" in told
    assert told.endswith(f"next:\n  {TRAIN}\n")
    assert "answer_head cannot be used: it has none" in told
    assert "25%" in told  # 5 of 20 GFLOP/s


def test_what_is_faster_by_itself_is_advised(capsys: Any) -> None:
    told = advice(capsys, share_prompt__off=result(12), frozen_once__off=result(10.4), grad_checkpoint__on=result(11))
    assert "recommended: share_prompt off (1.20x); also faster by itself: grad_checkpoint on (1.10x)" in told
    assert told.endswith(f"  {TRAIN} --set speed.share_prompt=false\n")


def test_what_does_not_fit_is_not_advised(capsys: Any) -> None:
    told = advice(capsys, free=3 * 10**9, share_prompt__off=result(12, peak=4 * 10**9))
    assert "the settings as they are" in told
    smaller = {"grad_checkpoint__on": result(3, 10**9), "batch__2__x2": result(5, 10**9)}
    told = advice(capsys, free=2 * 10**9 - 1, **smaller)
    assert "recommended: batch 2 x2, which fits" in told
    told = advice(capsys, **{LATER.replace(" ", "__"): "ended by signal 9", **smaller})
    assert "as it is: ended by signal 9" in told
    assert "which fits" in told
    assert "nothing here fits" in advice(capsys, free=1)


@pytest.mark.slow
@both
def test_a_trial_runs_in_a_process_of_its_own(backend: str, tiny_model: Path) -> None:
    """Speeds from the clock, tokens and work in one proportion, and the levers that a start would use."""
    backend_of(backend)
    groups = groups_of(PAIRS, recipe(), times=2)
    made = Trial(recipe(backend), tiny_model, groups, 0, rate=True)
    steps, found = [], None
    running = trial.run(made)
    while found is None:
        try:
            steps.append(next(running))
        except StopIteration as end:
            found = end.value
    assert isinstance(found, Result), found
    assert steps == [(done, WARM_UP + 2) for done in range(1, WARM_UP + 3)]
    assert "share_prompt" in found.on
    assert set(found.refused) == {"frozen_once"} | ({"fused_layers"} if backend == "mlx" else set())
    tokens = [sum(2 * len(e.prompt) + len(e.chosen) + len(e.rejected) for e in group) for group in groups[WARM_UP:]]
    assert min(tokens) / 4 * 0.99 < found.tokens / found.pairs < max(tokens) / 4 * 1.01
    assert 0 < found.work < found.matrix_rate
    assert found.peak > 0


@pytest.mark.slow
@both
def test_several_devices_are_measured_beside_one(backend: str, tiny_model: Path, capsys: Any) -> None:
    """What passes between them is told, and one device is tried with the same steps."""
    backend_of(backend)
    made = recipe(backend)
    made = made.model_copy(update={"backend": made.backend.model_copy(update={"devices": 2})})
    found = ended(Trial(made, tiny_model, groups_of(PAIRS, made, times=2), 0))
    assert isinstance(found, Result), found
    between = found.between
    assert between
    assert between.ranks == 2
    weights = load_file(tiny_model / "model.safetensors")
    widths = [sum(array.shape) for name, array in weights.items() if "_proj" in name]
    assert between.size == 4 * 4 * sum(widths)  # rank 4, float32
    assert between.questions == 3  # the pairs, the gradient, the step
    assert min(between.question, between.sum) > 0
    (alone,) = (row for row in beside(made, found, 4) if row.name == bench.ALONE)
    assert (alone.recipe.backend.devices, alone.changes) == (1, ("--devices", "1"))
    bench.tell_devices(printing.console(), {LATER: found, alone.name: replace(found, pairs=found.pairs / 1.5)}, 4)
    told = capsys.readouterr().out
    assert "between the 2 devices" in told
    assert "2 devices have 1.50 times the pairs per second of one, 4 would have" in told


def ended(made: Trial) -> Any:
    """What a trial finds, once it is through."""
    running = trial.run(made)
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value


@pytest.mark.slow
def test_a_trial_that_cannot_be_is_one_line(tmp_path: Path, monkeypatch: Any) -> None:
    made = Trial(recipe("mlx"), tmp_path / "none", [PAIRS[:4]], 0)
    with pytest.raises(BackendError, match=str(tmp_path / "none")):
        ended(made)
    popen = subprocess.Popen
    monkeypatch.setattr(trial.subprocess, "Popen", lambda words, **keys: popen(["sh", "-c", "kill -9 $$"], **keys))
    assert ended(made) == "ended by signal 9, as where memory runs out"
    monkeypatch.setattr(trial.subprocess, "Popen", lambda words, **keys: popen(["sh", "-c", "echo Oh >&2"], **keys))
    with pytest.raises(BackendError, match=r"^Oh$"):
        ended(made)
    noise = f"echo a library; echo '{trial.SAYS}{json.dumps({'memory': 'of the GPU'})}'; echo bye"
    monkeypatch.setattr(trial.subprocess, "Popen", lambda words, **keys: popen(["sh", "-c", noise], **keys))
    assert ended(made) == "memory ran out: of the GPU"


def test_the_command_shows_every_setting(tiny_model: Path, tiny_pairs: Path, monkeypatch: Any, capsys: Any) -> None:
    """All but the measuring itself, which takes a process for each row."""
    backend_of("cuda")
    asked: list[Trial] = []

    def pretended(made: Trial) -> Any:
        asked.append(made)
        yield 1, len(made.groups)
        return replace(result(), pairs=float(len(asked)))

    monkeypatch.setattr(bench, "run", pretended)
    words = ["bench", "--backend", "cuda", "--device", "cpu", "--model", str(tiny_model), "--data", str(tiny_pairs)]
    assert run([*words, "--batch-size", "2", "--times", "1"]) == 0
    told = capsys.readouterr().out
    assert [len(made.groups) for made in asked] == [WARM_UP + 1] * 6 + [2 * (WARM_UP + 1)]
    assert [made.rate for made in asked] == [True] + [False] * 6
    assert [len(made.groups[0]) for made in asked] == [2] * 6 + [1]
    assert "as it is" in told
    assert "batch 1 x2" in told
    with pytest.raises(RecipeError, match="--times 0: must be at least 1"):
        run([*words, "--times", "0"])
