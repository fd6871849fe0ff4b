"""A run in a few words: its settings are those of status.json, or of its recipe where that does not tell them yet."""

import json
from pathlib import Path
from typing import Any

import pytest

from mio_local.runs import index as index_module
from mio_local.runs.index import Index
from mio_local.runs.launch import lay_out
from mio_local.runs.summary import Row, row_of
from tests.helpers import fakes


def settings(row: Row) -> tuple[object, ...]:
    return row.objective, row.rate, row.beta, row.rank


def test_a_queued_run_tells_its_settings(tmp_path: Path) -> None:
    run = lay_out(fakes.recipe("dpo", 0.05, learning_rate=3e-4), tmp_path)
    run.recipe.write_text("")  # they are in status.json
    assert settings(row_of(run)) == ("dpo", 3e-4, 0.05, 16)


def test_a_run_from_before_has_them_in_its_recipe(tmp_path: Path) -> None:
    run = fakes.make_run(tmp_path, "old", steps=3, loss="dpo")
    assert "rank" not in run.read_status()
    assert settings(row_of(run)) == ("dpo", 1e-5, 0.1, 16)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", (None, None, None)),
        (b"\xff\xfe", (None, None, None)),
        (b"learning_rate = high\n", (None, None, None)),
        (b"learning_rate = nan\nbeta = inf\nrank = 8\n", (None, None, 8)),
        (b'system = "say\\nrank = 3"\nrank = 8\n', (None, None, 8)),
        (b"sft_learning_rate = 1\nadam_beta1 = 1\nranking = 1\n", (None, None, None)),
    ],
)
def test_a_recipe_that_holds_anything(tmp_path: Path, content: bytes, found: tuple[object, ...]) -> None:
    run = fakes.make_run(tmp_path, "odd", steps=3)
    run.recipe.write_bytes(content)
    row = row_of(run)
    assert (row.rate, row.beta, row.rank) == found
    assert row.state == "done"


@pytest.mark.parametrize(
    ("chosen", "rejected", "share", "shown"),
    [
        (0, 0, 0.0, None),
        (0.0, -0.0, 0.0, None),
        (2e-6, -1e-6, 0.4, None),
        (0.0, 0.1, 0.0, 0.0),
        (1, 0, 0.75, 0.75),
        (None, None, 0.5, 0.5),
    ],
)
def test_ties_are_no_accuracy(tmp_path: Path, chosen: Any, rejected: Any, share: float, shown: float | None) -> None:
    """Before the first step every pair is a tie, and "0 % right" was shown of a run that had not begun."""
    run = fakes.make_run(tmp_path, "new", steps=0)
    held = {"delta/chosen": chosen, "delta/rejected": rejected, "rewards/accuracies": share, "loss": 0.69}
    fakes.set_status(run, held_out=held)
    assert (row_of(run).accuracy, row_of(run).loss) == (shown, 0.69)


def test_what_is_damaged_is_named_without_the_path_before_it(tmp_path: Path) -> None:
    """A list has no room for it, and the row says whose file it is."""
    run = fakes.make_run(tmp_path, "broken", steps=3)
    run.status.write_text("{")
    assert row_of(run).note == "status.json: damaged (not JSON)"


def test_what_must_be_read_anew_is_left_out_when_time_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIO_LOCAL_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "runs"
    for number in range(4):
        fakes.make_run(folder, f"r{number}", steps=3)
    index = Index(folder)
    clock = iter([0.0, 0.6, 1.0, 1.6])
    with monkeypatch.context() as short:
        short.setattr(index_module.time, "monotonic", lambda: next(clock))
        assert [row.name for row in index.read(1)] == ["r3", "r2"]
    assert index.left == 2
    assert [row.name for row in index.read(0)] == ["r3", "r2"]  # those that are known stay
    assert [row.name for row in index.read()] == ["r3", "r2", "r1", "r0"]
    assert index.left == 0


def test_tags_come_back_from_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIO_LOCAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(index_module, "MANY", 0)
    fakes.make_run(tmp_path / "runs", "r0", steps=3)
    Index(tmp_path / "runs").read()
    [kept] = (tmp_path / "cache" / "runs").glob("*.json")
    said = json.loads(kept.read_text())
    place = said["columns"].index("tags")
    for tags, found in ((["best", "long"], ("best", "long")), (["best", 3], ()), ("best", ())):
        said["rows"]["r0"][1][place] = tags
        kept.write_text(json.dumps(said))
        assert [row.tags for row in Index(tmp_path / "runs").read()] == [found]
