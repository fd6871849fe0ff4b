"""What its user writes about a run: kept apart from what the trainer writes, and shown as strangers' text."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.errors import RunError
from mio_local.runs.index import Index
from mio_local.runs.remarks import LONGEST_NOTE, Remarks, read_remarks, remarks_file, set_note, set_tags
from mio_local.runs.summary import row_of
from tests.helpers import fakes


def test_notes_and_tags_are_kept(folder: Path) -> None:
    run = fakes.make_run(folder, "one", steps=50)
    before = run.read_info(), run.status.read_bytes()
    assert read_remarks(run) == Remarks()
    set_tags(run, ["best", "größe-2"])
    set_note(run, "  the one to keep\nfor β 0.1 ")
    set_tags(run, ["a.b", "best"], ["größe-2", "not there"])
    assert read_remarks(run) == Remarks("the one to keep\nfor β 0.1", ("a.b", "best"))
    assert stat.S_IMODE(remarks_file(run).stat().st_mode) == 0o600
    row = row_of(run)
    assert (row.remark, row.tags) == ("the one to keep\nfor β 0.1", ("a.b", "best"))
    assert set_note(run, "") == Remarks("", ("a.b", "best"))
    assert (run.read_info(), run.status.read_bytes()) == before


def test_what_cannot_be_kept_is_told(folder: Path) -> None:
    run = fakes.make_run(folder, "one", steps=50)
    for tag in ("", "two words", "-x", "x" * 41, "a\x1b", "#x"):
        with pytest.raises(RunError, match="use one word"):
            set_tags(run, [tag])
    with pytest.raises(RunError, match="would have 21 tags"):
        set_tags(run, [f"t{number}" for number in range(21)])
    with pytest.raises(RunError, match="4,001 characters; use at most 4,000"):
        set_note(run, "x" * (LONGEST_NOTE + 1))
    assert not remarks_file(run).exists()


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "\x00", "[" * 100_000, '{"note": 1, "tags": {"a": 1}}', '{"tags": [1, null, "a b", []]}']
)
def test_a_file_that_makes_no_sense_says_nothing(folder: Path, content: str) -> None:
    run = fakes.make_run(folder, "one", steps=50)
    remarks_file(run).write_text(content)
    assert read_remarks(run) == Remarks()
    assert row_of(run).state == "done"


def test_a_file_of_a_stranger_is_bounded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fakes.make_run(folder, "one", steps=50)
    said = {"note": "\x1b]0;title\x07" + "x" * 9000, "tags": [f"t{number}" for number in range(99)] + ["[red]"]}
    remarks_file(run).write_text(json.dumps(said))
    found = read_remarks(run)
    assert (len(found.note), len(found.tags)) == (LONGEST_NOTE, 20)
    for command in (["runs"], ["show", "one"]):
        assert cli.run([*command, "--runs", str(folder)]) == 0
        assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("again", [False, True], ids=["another process", "the same object"])
def test_the_list_of_runs_sees_them(folder: Path, again: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mio_local.runs.index.MANY", 0)
    monkeypatch.setenv("MIO_LOCAL_CACHE", str(tmp_path / "cache"))
    run = fakes.make_run(folder, "one", steps=50)
    set_tags(run, ["best"])
    index = Index(folder)
    assert [row.tags for row in index.read()] == [row.tags for row in Index(folder).read()] == [("best",)]
    set_note(run, "kept")
    assert [(row.remark, row.tags) for row in (index if again else Index(folder)).read()] == [("kept", ("best",))]


def test_the_commands(folder: Path, mistake: Callable[..., str], capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        fakes.make_run(folder, name, steps=50)

    def said(*words: str) -> str:
        assert cli.run([*words, "--runs", str(folder)]) == 0
        return capfd.readouterr().out

    assert said("tag", "one", "+best", "+hard") == "one: best hard\n"
    assert said("tag", "one", "-hard", "+short") == "one: best short\n"  # -h is no help here
    assert said("note", "one", "worth\ntrying") == "one: noted\n"
    shown = said("show", "one")
    assert "  tags       best short\n  note       worth⏎trying\n" in shown
    listed = said("runs", "--tag", "best")
    assert "best short; worth trying" in listed
    assert "two" not in listed
    assert said("runs", "--tag", "best", "--tag", "x") == f"no runs in {folder} with best and x\n"
    assert "write +best to put this tag" in mistake("tag", "one", "best", "--runs", folder)
    assert "unrecognized arguments: --all" in mistake("tag", "one", "+x", "--all", "--runs", folder)
