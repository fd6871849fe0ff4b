"""Deleted runs are kept for a week and come back whole; nothing beside the runs is touched."""

import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.errors import RunError
from mio_local.runs import trash
from mio_local.runs.directory import Run, list_runs
from tests.conftest import files_below
from tests.helpers import fakes


def names(folder: Path) -> list[str]:
    return sorted(run.name for run in list_runs(folder))


def content(place: Path) -> dict[str, bytes]:
    return {str(file.relative_to(place)): file.read_bytes() for file in place.rglob("*") if file.is_file()}


def aged(folder: Path, one: trash.Deleted, days: float) -> None:
    """As if it had been deleted so long ago."""
    day = datetime.now(UTC) - timedelta(days=days)
    one.path.parent.rename(folder / trash.NAME / day.strftime(trash.DATE))


def test_a_deleted_run_comes_back_as_it_was(folder: Path) -> None:
    one = fakes.make_run(folder, "one", steps=50)
    fakes.make_run(folder, "two", steps=50)
    before = content(one.path)
    gone = trash.delete(one)
    assert names(folder) == ["two"]
    assert stat.S_IMODE((folder / trash.NAME).stat().st_mode) == 0o700
    assert [(found.name, found.when) for found in trash.deleted(folder)] == [("one", gone.when)]
    assert trash.size(gone.path) == sum(map(len, before.values()))
    assert trash.undelete(folder) == one
    assert content(one.path) == before
    assert list((folder / trash.NAME).iterdir()) == []


def test_the_last_of_a_name_comes_back_under_a_free_one(folder: Path) -> None:
    for steps in (10, 20):
        trash.delete(fakes.make_run(folder, "one", steps=steps))
    other = fakes.make_run(folder, "one", steps=30)
    back = trash.undelete(folder, "one")
    assert (back.name, back.read_status()["step"]) == ("one-2", 20)
    assert other.read_status()["step"] == 30
    with pytest.raises(RunError, match=r"no run ony in the trash of .* \(nearest: one\); there are: one"):
        trash.undelete(folder, "ony")


@pytest.mark.parametrize("state", ["training", "queued"])
def test_a_run_that_trains_or_waits_stays(folder: Path, state: str) -> None:
    run = fakes.make_run(folder, "one", state, steps=10, after="two")
    doing = {"training": "is training", "queued": "waits for two"}[state]
    with fakes.alive(run), pytest.raises(RunError, match=f"run one {doing}, so it cannot be deleted; first: "):
        trash.delete(run)
    fakes.set_status(run, state="done")
    with fakes.alive(run), pytest.raises(RunError, match="run one is in use"):
        trash.delete(run)
    assert names(folder) == ["one"]


def test_what_was_deleted_a_week_ago_goes_with_the_next(folder: Path) -> None:
    for name, days in (("old", 7.01), ("young", 6.99)):
        aged(folder, trash.delete(fakes.make_run(folder, name, steps=1)), days)
    trash.delete(fakes.make_run(folder, "new", steps=1))
    assert [one.name for one in trash.deleted(folder)] == ["new", "young"]
    assert [one.name for one in trash.empty(folder)] == ["new", "young"]
    assert trash.deleted(folder) == []


def test_links_and_what_is_not_ours_are_left_alone(folder: Path, tmp_path: Path) -> None:
    """The link is moved and, at last, deleted; what it leads to, and what somebody put into the trash, stay."""
    outside = fakes.make_run(tmp_path / "away", "real", steps=10)
    (folder / trash.NAME / "mine").mkdir(parents=True)
    (folder / trash.NAME / datetime.now(UTC).strftime(trash.DATE)).symlink_to(tmp_path / "away")
    (folder / "link").symlink_to(outside.path)
    before = files_below(tmp_path / "away")
    gone = trash.delete(Run(folder / "link"))
    assert gone.path.is_symlink()
    assert trash.size(gone.path) == 0
    assert trash.undelete(folder).path.readlink() == outside.path
    trash.delete(Run(folder / "link"))
    trash.empty(folder)
    assert files_below(tmp_path / "away") == before
    assert {place.name for place in (folder / trash.NAME).iterdir() if not place.is_symlink()} == {"mine"}
    shutil.rmtree(folder / trash.NAME)
    (folder / trash.NAME).symlink_to(tmp_path / "away")
    run = fakes.make_run(folder, "one", steps=10)
    for call in (lambda: trash.delete(run), lambda: trash.empty(folder), lambda: trash.undelete(folder)):
        with pytest.raises(RunError, match=r"\.trash: is a link, which may lead anywhere; remove it"):
            call()
    assert files_below(tmp_path / "away") == before


def test_the_commands(
    folder: Path, runs_home: Path, mistake: Callable[..., str], capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two", "three"):
        fakes.make_run(folder, name, steps=50)
    used = trash.size(folder / "one")
    assert cli.run(["delete", "one", f"{folder}/two"]) == 0
    said = capfd.readouterr().out
    assert f"one is in the trash for seven days, {used / 1000:.0f} kB" in said
    assert "mio-local undelete two" in said
    assert cli.run(["undelete"]) == cli.run(["undelete", "one"]) == 0
    assert "two is back" in capfd.readouterr().out
    assert names(folder) == ["one", "three", "two"]
    assert "the trash of" in mistake("undelete")
    assert f"no run {folder.parent}/one in" in mistake("delete", folder.parent / "one")
    assert "nearest: three" in mistake("delete", "thre")
    assert "name at least one RUN" in mistake("delete")
    assert cli.run(["delete", "one"]) == cli.run(["delete", "--empty"]) == 0
    assert "deleted for good: 1 run, " in capfd.readouterr().out
    assert names(folder) == ["three", "two"]
