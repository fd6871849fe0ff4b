"""One, two or three ranks: one curve, and each pair computed once."""

import subprocess
import sys
from pathlib import Path

import pytest

from mio_local.backends import installed
from tests.helpers.backends import need_library
from tests.helpers.fakes import read_events
from tests.helpers.ranks.ranked_runs import check_same_curve, mixed_pairs, resumed, tables, trained
from tests.helpers.some import fast

CASES = [(backend, ranks) for backend in installed() for ranks in (2, 3)]
COUNTING = """
import sys
from mio_local.ranks.leader import RankedModel
from mio_local.cli import main
apply = RankedModel.apply
def counted(model, rate):
    print("given", *model.pairs, flush=True)
    return apply(model, rate)
RankedModel.apply = counted
main()
"""


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Pairs of mixed lengths."""
    return mixed_pairs(tmp_path / "pairs.jsonl")


@pytest.mark.parametrize("case", fast(CASES, [("mlx", 2)]), ids=lambda case: f"{case[0]}-{case[1]}")
def test_several_ranks_go_along_the_curve_of_one(tmp_path, tiny_model, pairs, case):
    backend, ranks = case
    need_library(backend)
    recipe = tables(tiny_model, pairs, backend)
    alone = trained(tmp_path, "alone", recipe)
    check_same_curve(trained(tmp_path, "ranked", recipe, "--devices", ranks), alone)


@pytest.mark.slow
@pytest.mark.parametrize("backend", installed())
def test_an_early_stop_comes_at_the_same_step(tmp_path, tiny_model, pairs, backend):
    need_library(backend)
    recipe = tables(tiny_model, pairs, backend, learning_rate=0.3, steps=60)
    recipe["eval"] |= {"patience": 2}
    alone = trained(tmp_path, "alone", recipe)
    ranked = trained(tmp_path, "ranked", recipe, "--devices", 2)
    ends = [read_events(run.events)[-1] for run in (alone, ranked)]
    assert ends[0]["reason"] == "early stop"
    assert [end["step"] for end in ends] == [ends[0]["step"]] * 2


@pytest.mark.slow
@pytest.mark.parametrize("backend", installed())
def test_another_number_of_ranks_goes_on_along_the_same_curve(tmp_path, tiny_model, pairs, backend):
    need_library(backend)
    recipe = tables(tiny_model, pairs, backend)
    alone = trained(tmp_path, "alone", recipe)
    run = trained(tmp_path, "ranked", recipe, "--devices", 2)
    for later in run.saved()[-1:]:
        later.rename(later.with_name("later"))  # as killed after the one before
    run.update_status(state="failed", reason="")
    resumed(run, "--devices", 3)
    check_same_curve(run, alone)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["kto", "ipo"])
def test_other_objectives(tmp_path, tiny_model, pairs, loss):
    recipe = tables(tiny_model, pairs, "mlx", steps=6) | {"loss": {"name": loss}}
    check_same_curve(trained(tmp_path, "ranked", recipe, "--devices", 2), trained(tmp_path, "alone", recipe))


@pytest.mark.slow
def test_each_pair_is_computed_once(tmp_path, tiny_model, pairs):
    recipe = tmp_path / "recipe.toml"
    from mio_local.recipe import build

    recipe.write_text(build(tables(tiny_model, pairs, "mlx", steps=8), "test").dump(), encoding="utf-8")
    words = ["train", str(recipe), "--runs", str(tmp_path / "runs"), "--name", "counted", "--devices", "2"]
    done = subprocess.run([sys.executable, "-c", COUNTING, *words], capture_output=True, text=True, check=True)
    given = [list(map(int, line.split()[1:])) for line in done.stdout.splitlines() if line.startswith("given")]
    assert [sum(each) for each in given] == [min(6 * step, 19 * (step // 4) + 6 * (step % 4)) for step in range(1, 9)]
    assert min(given[-1]) > 0


