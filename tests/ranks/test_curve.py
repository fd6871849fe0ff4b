"""One, two or three ranks: one curve."""

import json

import pytest

from mio_local.backends import installed
from tests.helpers.backends import need_library
from tests.helpers.fakes import read_events
from tests.helpers.ranks.ranked_runs import check_same_curve, resumed, tables, trained
from tests.helpers.some import fast

CASES = [(backend, ranks) for backend in installed() for ranks in (2, 3)]


@pytest.mark.parametrize("case", fast(CASES, [("mlx", 2)]), ids=lambda case: f"{case[0]}-{case[1]}")
def test_several_ranks_go_along_the_curve_of_one(tmp_path, tiny_model, pairs, case):
    backend, ranks = case
    need_library(backend)
    recipe = tables(tiny_model, pairs, backend)
    alone = trained(tmp_path, "alone", recipe)
    check_same_curve(trained(tmp_path, "ranked", recipe, "--devices", ranks), alone)


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
@pytest.mark.parametrize("backend", installed())
def test_an_early_stop_comes_at_the_same_step(tmp_path, tiny_model, pairs, backend):
    """Held-out pairs are those that are trained on, the wrong way round: the better those, the worse these."""
    need_library(backend)
    given = [json.loads(line) for line in pairs.read_text(encoding="utf-8").splitlines()]
    turned = tmp_path / "turned.jsonl"
    turned.write_text("".join(
        json.dumps(row | {"chosen": row["rejected"], "rejected": row["chosen"]}) + "\n" for row in given[::3]
    ), encoding="utf-8")  # fmt: skip
    recipe = tables(tiny_model, pairs, backend, steps=40)
    recipe["data"]["eval_source"] = str(turned)
    recipe["eval"] |= {"patience": 3}
    alone = trained(tmp_path, "alone", recipe)
    end = read_events(alone.events)[-1]
    assert (end["reason"], end["step"] < 40) == ("early stop", True)
    check_same_curve(trained(tmp_path, "ranked", recipe, "--devices", 2), alone)
