"""The New run screen with its slow parts replaced at their boundary: the disk, the hub, the estimate, the preview."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from mio_local.errors import MioError
from mio_local.models import hub
from mio_local.models.hub import ModelCard
from mio_local.preview.preview_client import PreviewError
from mio_local.runs.directory import Run
from mio_tui.app import MioApp
from mio_tui.dialogs import Ask
from mio_tui.new import fetch
from mio_tui.new import needs as memory_needs
from mio_tui.new.key_field import Field
from mio_tui.new.needs import Needs
from mio_tui.new.screen import NewRunScreen
from mio_tui.new.steps import data_step
from tests.helpers.tui.screens import screen_text, until

GB = 1_000_000_000
CONFIG = {"model_type": "qwen3", "num_hidden_layers": 28, "hidden_size": 1024}
HOSTILE = "x[/INST] [red]r \x1b[31mred\x1b[0m 🙂 \u202eabc " + "long " * 40_000
SUMMARY = {
    "encoded": 1000, "held_out_pairs": 50, "truncated_share": 0.012, "longer_share": 0.38, "identical": 3,
    "duplicates": 2, "prompt": {"smallest": 9, "median": 60, "p95": 210, "largest": 640},
    "chosen": {"smallest": 2, "median": 90, "p95": 300, "largest": 900},
    "rejected": {"smallest": 2, "median": 70, "p95": 280, "largest": 700}, "longest": 1400,
}  # fmt: skip


def on_disk(name: str, gigabytes: float = 1.2, **more: Any) -> ModelCard:
    """A model that is all here."""
    given = {"complete": True, "size": round(gigabytes * GB), "parameters": round(gigabytes * GB / 2), "quant": "bf16"}
    return ModelCard(name, Path("/models") / name, config=CONFIG, **given | more)


def on_hub(name: str, gigabytes: float = 8.0, **more: Any) -> ModelCard:
    """A model that is not here."""
    return ModelCard(name, size=round(gigabytes * GB), quant="bf16", licence="apache-2.0", downloads=9, **more)


LOCAL = [on_disk("Qwen/Qwen3-0.6B", licence="apache-2.0"), on_disk("Qwen/Qwen3-1.7B", 3.4)]
REMOTE = [on_hub("Qwen/Qwen3-4B-Instruct-2507"), on_hub("meta-llama/Llama-3.2-1B", 2.5, gated=True)]


def needs(card: ModelCard, *_: object) -> Needs:
    """An estimate of three times the weights, of 27 GB."""
    total = 3 * card.size
    fits = "no" if total > 27 * GB else "tight" if total > 21.6 * GB else "yes"
    parts = (("weights", card.size), ("adapter", card.size // 10), ("activations", card.size))
    return Needs((*parts, ("logits", total - sum(size for _, size in parts))), total, 27 * GB, fits,
                 "" if fits == "yes" else "batch 4 -> 1 with accumulate x4")


def parts(row: int, text: str = "What is") -> list[dict[str, Any]]:
    """A pair as the preview answers it."""
    prompt = [["<|im_start|>", True], [f"{text} {row}", False], ["?⏎", False]]
    return [
        {"role": "prompt", "tokens": 3, "scored": False, "cut": False, "more": 0, "pieces": prompt},
        {"role": "chosen", "tokens": 2, "scored": True, "cut": False, "more": 0,
         "pieces": [["right", False], ["<|im_end|>", True]]},
        {"role": "rejected", "tokens": 900, "scored": True, "cut": True, "more": 898,
         "pieces": [["wrong", False], [" answer", False]]},
    ]  # fmt: skip


class FakePreview:
    """Answers as `Preview` does. What a test sets on the class holds for all of them; `asked` is what was asked."""

    asked: list[tuple[str, dict[str, Any]]] = []  # noqa: RUF012 - reset by `stage`
    answer: dict[str, Any] = {}  # noqa: RUF012
    errors: dict[str, Any] = {}  # noqa: RUF012 - by what was asked: an answer with an error, or an exception
    hold: asyncio.Event | None = None
    summarised: dict[str, Any] = {}  # noqa: RUF012
    text = "What is"

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        self.asked.append((do, fields))
        if self.hold and do == "open":
            await self.hold.wait()
        error = self.errors.get(do)
        if callable(error):
            error = error(fields)
        if isinstance(error, MioError):
            raise error
        if error:
            raise PreviewError(error)
        if do == "pair":
            return {"row": fields["row"], "where": f"pairs.jsonl line {fields['row'] + 1}",
                    "parts": parts(fields["row"], self.text)}
        return self.answer | {"tokens": bool(fields["model"]["name"])}

    async def summary(self, progress: Callable[[int, int], None]) -> dict[str, Any]:
        progress(400, 1000)
        return self.summarised


@contextlib.contextmanager
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Replace the slow parts, and make an empty folder with one file of pairs the current one."""
    here = tmp_path / "work"
    here.mkdir()
    (here / "pairs.jsonl").write_text("{}\n", encoding="utf-8")
    monkeypatch.chdir(here)
    monkeypatch.setenv("MIO_LOCAL_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("MIO_LOCAL_THEME", "mio-dark")
    monkeypatch.setattr(hub, "on_disk", lambda folders=(): list(LOCAL))
    monkeypatch.setattr(hub, "search", lambda query, limit=50: list(REMOTE))
    monkeypatch.setattr(hub, "look", lambda name, revision="": on_hub(name, config=CONFIG))
    monkeypatch.setattr(memory_needs, "needs", needs)
    monkeypatch.setattr(memory_needs, "disk_free", lambda folder: 120 * GB)
    monkeypatch.setattr(data_step, "Preview", FakePreview)
    FakePreview.asked, FakePreview.errors, FakePreview.hold, FakePreview.text = [], {}, None, "What is"
    FakePreview.answer = {
        "source": "pairs.jsonl", "layout": "text", "shows": "prompt, chosen, rejected: text", "pairs": 1000,
        "rows": 1000, "skipped": {}, "problem": "", "roles": ["prompt", "chosen", "rejected", "system"],
        "columns": {"prompt": "question", "chosen": "good", "rejected": "bad"},
        "available": ["question", "good", "bad", "better"],
    }  # fmt: skip
    FakePreview.summarised = {"summary": SUMMARY, "warnings": [], "stops": ""}
    yield tmp_path / "runs"


@contextlib.asynccontextmanager
async def form(
    folder: Path, size: tuple[int, int] = (80, 24), tables: dict[str, Any] | None = None, name: str = ""
) -> AsyncIterator[tuple[Pilot[str], NewRunScreen]]:
    """The app with the form on top, the local models listed."""
    app = MioApp(folder)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        screen = NewRunScreen(tables, name)
        app.push_screen(screen)
        await until(pilot, lambda: app.screen is screen and screen.steps and screen.steps[-1].is_mounted)
        await until(pilot, lambda: not screen.models.looking)
        await pilot.pause(0.1)
        yield pilot, screen


TABLES = {"model": {"name": "Qwen/Qwen3-0.6B"}, "data": {"source": "pairs.jsonl"}}


def toasts(screen: NewRunScreen) -> str:
    """What was said in passing."""
    return "\n".join(toast.message for toast in screen.app._notifications)


async def settled(pilot: Pilot[Any], screen: NewRunScreen) -> None:
    """Wait until the pairs that the form names now are open and the memory is estimated."""

    def ready() -> object:
        state = screen.state
        return state.data.key == state.wanted() and state.data.summary and state.needs

    await until(pilot, ready)
    await pilot.pause(0.05)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The runs folder of a staged screen."""
    with stage(monkeypatch, tmp_path) as runs:
        yield runs


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs whose live screen was asked for."""
    found: list[Run] = []
    monkeypatch.setattr(MioApp, "show_run", lambda self, run: found.append(run))
    return found


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[Run]]:
    """The queues that were launched; nothing trains."""
    found: list[list[Run]] = []
    monkeypatch.setattr("mio_tui.new.begin.launch", lambda queue, *_, **__: found.append(queue))
    return found


def text(screen: Any) -> str:
    return "\n".join(screen_text(screen.app))


def field(screen: Any, key: str) -> Field:
    return next(field for field in screen.query(Field) if field.key == key and field.parent.display)


def box(screen: Any, key: str) -> Input:
    return field(screen, key).query_one(Input)


async def go(pilot: Any, screen: Any, step: int) -> None:
    """Show a step, and wait until it is there."""
    screen.go(step)
    await pilot.pause(0.1)


async def press_start(pilot: Any, screen: NewRunScreen) -> None:
    """Start from the review, where every start begins."""
    if screen.step is not screen.review:
        await pilot.press("ctrl+s")
        await pilot.pause()
    await pilot.press("s")


async def type_into(pilot: Any, screen: Any, key: str, typed: str) -> None:
    """Replace a field's text by typing."""
    there = next(entry for entry in screen.step.query(Field) if entry.key == key).query_one(Input)
    there.focus()
    there.value = ""
    await pilot.press(*typed)


def downloader(
    tmp_path: Path, monkeypatch: Any, *lines: dict[str, Any], pause: float = 0.3, wait: bool = False,
    gate: Path | None = None,
) -> Path:  # fmt: skip
    """In place of the download process: one that writes `lines`, notes its arguments in a file, and may stay.

    With `gate`, it writes the last line once that file is there.
    """
    script, told = tmp_path / "download.py", tmp_path / "arguments"
    script.write_text(
        "import json, os, sys, time\n"
        f"open({str(told)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
        f"for line in {[json.dumps(line) for line in lines]!r}:\n    print(line, flush=True)\n    time.sleep({pause})\n"
        + (f"    while not os.path.exists({str(gate)!r}): time.sleep(0.02)\n" if gate else "")
        + ("time.sleep(60)\n" if wait else "")
    )
    monkeypatch.setattr(fetch, "COMMAND", (str(script),))
    return told


async def choose_remote(pilot: Any, screen: Any) -> None:
    await pilot.press(*"4b")
    await until(pilot, lambda: "Qwen3-4B" in text(screen))
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(screen.app.screen, Ask))
