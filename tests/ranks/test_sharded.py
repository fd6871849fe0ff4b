"""A base that lies on several ranks: the figures of one process, and about a rank's share of its memory."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mio_local.errors import BackendError, ModelError
from mio_local.ranks.sharding import check_shard, whole_on_one
from mio_local.recipe import PLAIN, build
from mio_local.runs.directory import Run
from tests.helpers.backends import need_library
from tests.helpers.fakes import read_events
from tests.helpers.ranks.rank_processes import ranks_of, wait_for
from tests.helpers.ranks.ranked_runs import begun, check_same_curve, mixed_pairs, resumed, tables, trained
from tests.helpers.tiny_model import write_tiny_model

NEAR = {"losses": 1e-5, "norms": 1e-5, "logits": 2e-5, "scores": 2e-5}  # nats, or of an adapter's gradient
CHANGES = [
    {"speed": dict.fromkeys(PLAIN.model_dump(), False)},
    {"train": {"grad_checkpoint": True}, "lora": {"rank": 4, "alpha": 8}},
    {"lora": {"rank": 4, "alpha": 8, "dora": True, "layers": 2}},
    {"backend": {"name": "cuda", "device": "cpu", "devices": 3}},
]


def steps(folder: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """What one process and ranks that share the base find, in a process of its own."""
    need_library("cuda")
    words = [sys.executable, "-W", "ignore", "-m", "tests.helpers.ranks.sharded_steps", folder, json.dumps(changes)]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(found: dict[str, Any]) -> None:
    """The same figures, to rounding, and the same tokens."""
    alone, shared = found["alone"], found["shard"]
    for key, near in NEAR.items():
        np.testing.assert_allclose(shared[key], alone[key], rtol=0, atol=near, err_msg=key)
    for key in ("refused", "answers", "sampled", "drawn"):
        assert shared[key] == alone[key], key


def test_two_ranks_find_what_one_does_with_about_half_of_the_base(tmp_path):
    """Levers on; pairs of mixed lengths, every second step of one pair alone, which leaves a rank without any."""
    found = steps(write_tiny_model(tmp_path / "deep", blocks=20), {"steps": 5})
    check(found)
    assert found["alone"]["refused"] == {}
    (whole, _), (share, most) = found["alone"]["held"], found["shard"]["held"]
    assert share <= 0.51 * whole
    assert most <= 0.6 * whole


@pytest.mark.slow
@pytest.mark.parametrize("changes", CHANGES, ids=lambda one: next(iter(one)))
def test_what_else_a_recipe_asks_for_is_the_same_on_a_shared_base(tmp_path, changes):
    check(steps(write_tiny_model(tmp_path / "deep", blocks=4), {"steps": 4} | changes))


@pytest.mark.slow
def test_a_real_shape_takes_little_more_than_half_of_its_memory(shared, tmp_path):
    need_library("cuda")
    from tests.bench.memory import make_model

    model = make_model("135m", tmp_path)
    alone, share = (steps(model, {"steps": 2, "only": only})[only] for only in ("alone", "shard"))
    np.testing.assert_allclose(share["losses"], alone["losses"], rtol=0, atol=1e-5)
    (whole, _), (_, most) = alone["held"], share["held"]
    assert most <= 0.6 * whole


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_a_run_on_a_shared_base_goes_along_the_curve_of_one(tmp_path, tiny_model, ranks):
    """Accumulation, dropout, evaluation and samples too; then on with one device, which holds the base whole again."""
    need_library("cuda")
    recipe = tables(tiny_model, mixed_pairs(tmp_path / "pairs.jsonl"), "cuda")
    alone = trained(tmp_path, "alone", recipe)
    run = trained(tmp_path, "spread", recipe, "--devices", ranks, "--shard")
    check_same_curve(run, alone)
    for later in run.saved()[-1:]:
        later.rename(later.with_name("later"))  # as killed after the one before
    run.update_status(state="failed", reason="")
    resumed(run, *(["--devices", 1] if ranks == 2 else []))
    check_same_curve(run, alone)


@pytest.mark.slow
def test_a_rank_that_dies_while_another_waits_for_its_share(tmp_path, tiny_model):
    need_library("cuda")
    recipe = tables(tiny_model, mixed_pairs(tmp_path / "pairs.jsonl"), "cuda", steps=500)
    process = begun(tmp_path, "killed", recipe, "--devices", 2, "--shard")
    run = Run(tmp_path / "runs" / "killed")
    wait_for(process, run, 5)
    ranks_of(process)[1].kill()
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 2
    told = [line for line in said.splitlines() if line.startswith("mio-local: ")]
    assert len(told) == 1
    assert "rank 1" in told[0]
    assert "mio-local resume killed" in told[0]
    assert any(event["type"] == "step" for event in read_events(run.events))


@pytest.mark.parametrize(
    ("backend", "model", "words"),
    [
        ({"name": "mlx", "devices": 2}, {}, "--shard: mlx has no way .* use --backend cuda"),
        ({"name": "cuda"}, {}, "--shard: one device .* add --devices N"),
        ({"name": "cuda", "devices": 2}, {"quantize": 4}, "--shard: a base of 4 bits cannot be spread"),
    ],
)
def test_what_cannot_be_spread_is_one_line(backend, model, words):
    recipe = build({"backend": {"shard": True, **backend}, "model": model}, "test")
    with pytest.raises(BackendError, match=words) as told:
        check_shard(recipe)
    assert "\n" not in str(told.value)
    check_shard(recipe.model_copy(update={"backend": recipe.backend.model_copy(update={"shard": False})}))


def test_a_run_that_goes_on_with_one_device_holds_its_base_whole():
    for devices, shard in ((1, False), (2, True)):
        recipe = build({"backend": {"shard": True, "devices": devices}}, "test")
        assert whole_on_one(recipe).backend.shard == shard


def test_blocks_that_share_weights_are_one_line():
    torch: Any = pytest.importorskip("torch")
    need_library("cuda")
    from mio_cuda.ranks.sharded_base import blocks, check_blocks

    one, two, three = (torch.nn.Linear(2, 2) for _ in range(3))
    layers = torch.nn.ModuleList([torch.nn.Sequential(one, two), torch.nn.Sequential(two, three)])
    model = torch.nn.ModuleDict({"layers": layers})
    assert len(blocks(model)) == 2
    with pytest.raises(ModelError, match=r"^--shard: blocks of this model share weights"):
        check_blocks(model, blocks(model))
    with pytest.raises(ModelError, match=r"^--shard: this model has no numbered blocks"):
        check_blocks(model, [])
