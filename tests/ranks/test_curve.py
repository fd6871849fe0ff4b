"""One, two or three ranks: one curve, and each pair computed once."""

from pathlib import Path

import pytest

from mio_local.backends import installed
from tests.helpers.backends import need_library
from tests.helpers.ranks.ranked_runs import check_same_curve, mixed_pairs, resumed, tables, trained
from tests.helpers.some import fast

CASES = [(backend, ranks) for backend in installed() for ranks in (2, 3)]


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


