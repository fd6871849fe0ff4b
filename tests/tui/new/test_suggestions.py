"""Models and data of earlier runs, and pairs that chats saved, offered where they are still there."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from mio_local.chat.feedback import NAME, save_pair
from mio_local.models import hub
from mio_local.recipe import build
from mio_local.runs.directory import Run, create
from mio_tui import formatting
from mio_tui.new.lookups.suggestions import offered_data, used_models
from tests.helpers import fakes
from tests.helpers.tui import new_run_form
from tests.helpers.tui.new_run_form import TABLES, box, form, go, on_disk, settled, text
from tests.helpers.tui.screens import screen_text, until

folder = new_run_form.folder


def used(folder: Path, name: str, hours: float, model: str = "m", **data: Any) -> Run:
    """A run that was laid out so many hours ago."""
    run = Run(folder / name)
    create(run, build({"model": {"name": model}, "data": data}, "test").dump(), {"name": name})
    when = fakes.NOW - 3600 * hours
    os.utime(run.recipe, (when, when))
    return run


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formatting, "now", lambda: fakes.NOW)
    for module in ("lookups.suggestions", "steps.model_list"):
        monkeypatch.setattr(f"mio_tui.new.{module}.now", lambda: fakes.NOW)


async def test_models_of_earlier_runs_come_first_with_when_that_was(folder: Path, monkeypatch: Any) -> None:
    used(folder, "old", 50, "Qwen/Qwen3-1.7B", source="d")
    used(folder, "new", 3, "/models/none", source="d")
    cards = [on_disk("a/first-by-name"), on_disk("Qwen/Qwen3-1.7B")]
    monkeypatch.setattr(hub, "on_disk", lambda folders=(): list(cards))
    async with form(folder, (80, 24)) as (pilot, screen):
        await until(pilot, lambda: "2 days ago" in text(screen))
        rows = [row for row in screen_text(screen.app) if "▪" in row]
        assert "Qwen/Qwen3-1.7B" in rows[0]
        assert rows[0].endswith("2 days ago")
        assert "ago" not in rows[1]
        assert "/models/none" not in text(screen)  # gone from this disk
    assert list(used_models(folder)) == ["/models/none", "Qwen/Qwen3-1.7B"]


async def test_the_data_of_a_run_is_taken_as_that_run_read_it(folder: Path, tmp_path: Path) -> None:
    there = tmp_path / "there.jsonl"
    there.write_text("{}\n", encoding="utf-8")
    used(folder, "alpha", 3, source=str(there), columns={"chosen": "good"}, eval_source="org/held-out")
    used(folder, "beta", 2, source=str(tmp_path / "gone.jsonl"))
    used(folder, "gamma", 1, source="org/pairs", split="test")
    async with form(folder, (80, 24), {"model": TABLES["model"]}) as (pilot, screen):
        await go(pilot, screen, 1)
        await until(pilot, lambda: "alpha, 3 h ago" in text(screen))
        assert "gone.jsonl" not in text(screen)
        assert "gamma, 60 min ago" in text(screen)
        await pilot.press("enter", "down", "enter")  # nothing is typed: to the list, where the second is alpha's
        await settled(pilot, screen)
        table = screen.state.draft.recipe().data
        assert (table.source, table.columns, table.eval_source) == (str(there), {"chosen": "good"}, "org/held-out")
        assert box(screen, "data.eval_source").value == "org/held-out"


async def test_pairs_that_chats_saved_are_data_with_their_count(folder: Path) -> None:
    run = used(folder, "alpha", 3, source="org/pairs")
    for file, pairs in ((run.path / NAME, 3), (folder / NAME, 1)):
        for number in range(pairs):
            save_pair(file, [{"role": "user", "content": f"q {number}"}], "yes", "no")
    async with form(folder, (80, 24), {"model": TABLES["model"]}) as (pilot, screen):
        await go(pilot, screen, 1)
        await until(pilot, lambda: "3 pairs of chats with alpha" in text(screen))
        assert re.search("1 pair of chats +│", text(screen))  # without a run
        await pilot.press("pagedown", "down", "enter")
        await settled(pilot, screen)
        assert screen.state.draft.text("data.source") == str(run.path / NAME)


def test_odd_recipes_and_files_are_no_offer(folder: Path) -> None:
    for number, recipe in enumerate(("", "[data]\nsource = 3", "data = 1", "not toml", '[data]\nsource = ""')):
        create(Run(folder / f"r{number}"), recipe, {})
    os.mkfifo(folder / "r0" / NAME)
    (folder / "r1" / NAME).write_bytes(b"\xff\n\n\x00")
    assert [(offer.source.removeprefix(str(folder)), offer.words) for offer in offered_data(folder)] == [
        (f"/r1/{NAME}", "2 pairs of chats with r1"), ("pairs.jsonl", "in this folder"),
    ]  # fmt: skip
    assert used_models(folder) == {}
