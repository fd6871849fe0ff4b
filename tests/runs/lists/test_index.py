"""The index of runs tells what their own files tell, whatever happened to either."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.runs import index as index_module
from mio_local.runs.index import Index
from mio_local.storage.paths import cache_folder
from tests.helpers import fakes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five runs that are done, in an index from the first."""
    monkeypatch.setattr(index_module, "MANY", 0)
    monkeypatch.setenv("MIO_LOCAL_CACHE", str(tmp_path / "cache"))
    for number in range(5):
        fakes.make_run(tmp_path / "runs", f"r{number}", steps=3, state="done")
    Index(tmp_path / "runs").read()
    return tmp_path / "runs"


def kept() -> Path:
    [file] = (cache_folder() / "runs").glob("*.json")
    return file


def forged(folder: Path, **values: object) -> None:
    """Write the index with a column of every row changed."""
    said = json.loads(kept().read_text())
    for _, row in said["rows"].values():
        for name, value in values.items():
            row[said["columns"].index(name)] = value
    kept().write_text(json.dumps(said))


def test_a_run_that_has_not_changed_is_not_read_again(folder: Path) -> None:
    forged(folder, note="from the index")
    assert {row.note for row in Index(folder).read()} == {"from the index"}


@pytest.mark.parametrize("again", [False, True], ids=["another process", "the same object"])
def test_what_happened_to_a_run_is_seen(folder: Path, again: bool) -> None:
    index = Index(folder)
    index.read()
    run = fakes.Run(folder / "r1")
    run.update_status(state="failed", reason="a reason")
    shutil.rmtree(folder / "r2")
    os.rename(folder / "r3", folder / "renamed")
    fakes.make_run(folder, "r5", steps=3, state="done")
    rows = {row.name: row for row in (index if again else Index(folder)).read()}
    assert rows.keys() == {"r0", "r1", "renamed", "r4", "r5"}
    assert (rows["r1"].state, rows["r1"].note) == ("failed", "a reason")


def test_a_live_run_whose_process_dies_without_a_word_is_lost(folder: Path) -> None:
    run = fakes.make_run(folder, "live", steps=3, state="training")
    index = Index(folder)
    held, over = threading.Event(), threading.Event()

    def train() -> None:
        with run.locked():
            held.set()
            over.wait()

    trainer = threading.Thread(target=train)
    trainer.start()
    held.wait()
    before = {row.name: row.state for row in index.read()}
    over.set()
    trainer.join()
    assert (before["live"], {row.name: row.state for row in index.read()}["live"]) == ("training", "lost")


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"columns": 1}', "\x00", "[" * 100_000, '{"columns": [], "rows": {"r0": [[1], []]}}'],
)
def test_an_index_that_makes_no_sense_is_passed_over(folder: Path, content: str) -> None:
    kept().write_text(content)
    assert [row.state for row in Index(folder).read()] == ["done"] * 5


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", "r9"), ("state", None), ("state", "gone"), ("change", "x"), ("time", []), ("time", None),
        ("note", {"a": 1}),
    ],
)
def test_a_row_that_makes_no_sense_is_read_from_its_run(folder: Path, column: str, value: object) -> None:
    forged(folder, **{column: value})
    assert {(row.name, row.state) for row in Index(folder).read()} == {(f"r{number}", "done") for number in range(5)}


def test_the_index_may_be_deleted_or_not_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(cache_folder() / "runs")
    assert len(Index(folder).read()) == 5
    assert kept().stat().st_mode & 0o777 == 0o600
    (tmp_path / "no folder").write_text("")
    monkeypatch.setenv("MIO_LOCAL_CACHE", str(tmp_path / "no folder"))
    assert cli.run(["runs", "--runs", str(folder)]) == 0
    assert "r4" in capsys.readouterr().out
