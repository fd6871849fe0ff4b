"""The comparison with other trainers is honest only where all of them do the same sums."""

from pathlib import Path

import pytest

from tests.bench.tuners.compare import apart
from tests.bench.tuners.work import SIDES, Work, batches, first_a
from tests.helpers.backends import backend_of


def test_the_work_is_the_same_for_whoever_asks(tiny_model: Path) -> None:
    work = Work(tiny_model, batch=2, tokens=0, steps=2)
    groups = batches(work)
    assert groups == batches(work)
    assert [len(group) for group in groups] == [2] * work.all_steps
    assert all(len(pair.ids["prompt"]) + len(pair.ids[side]) <= work.longest
               for group in groups for pair in group for side in SIDES)  # fmt: skip
    assert first_a("model.layers.0.mlp.up_proj", 8, 64).shape == (8, 64)
    assert (first_a("a", 2, 4) != first_a("b", 2, 4)).any()


@pytest.mark.slow
@pytest.mark.parametrize("cached", [False, True])
def test_trl_and_the_app_have_the_same_losses(tiny_model: Path, cached: bool) -> None:
    pytest.importorskip("trl")
    backend_of("cuda")
    work = Work(tiny_model, batch=2, tokens=0, steps=2, cached=cached)
    theirs, ours = apart("trl", work), apart("app-cuda", work)
    assert theirs["losses"][: work.all_steps] == pytest.approx(ours["losses"], rel=1e-4)
    assert ours["losses"][0] != pytest.approx(ours["losses"][-1], rel=1e-3)
