"""The pages on which pairs are made and reviewed, opened in a test; a script stands for the command."""

import asyncio
import contextlib
import json
import sys

import pytest
from textual.widgets import Input

from mio_tui.actions import command_process
from mio_tui.app import MioApp
from mio_tui.make import offered as offers
from mio_tui.make.making_screen import MakingScreen
from mio_tui.screens.make_pairs import MakePairsScreen
from mio_tui.screens.review_pairs import ReviewPairsScreen
from tests.helpers.tui.new_run_form import LOCAL
from tests.helpers.tui.screens import until

HOSTILE = "[/INST] [red]r[/ \x1b[31mred\x1b[0m 🙂 \u202eabc \ud800 " + "long " * 300
PRINTED = [
    "14 prompts, 14 with a known answer",
    "8 pairs of 14 prompts, 56 answers, judged by last-number",
    "  pass@1 39.3%, pass@4 71.4%",
    "  8 prompts have right and wrong answers",
    "rewards",
    "  0  34  ██████████████████████████████",
    "  1  22  ████████████████████",
    "written: pairs.jsonl, and pairs.jsonl.report.md beside it",
    "next:",
    "  mio-local train --model m --data pairs.jsonl",
]


def pair(number, prompt="What is", **more):
    """A line of a file that was made."""
    row = {"prompt": f"{prompt} {number}?",
           "chosen": f"{number}: the sum is {number + 1}.\nThe answer is {number + 1}.",
           "rejected": f"{number}: the sum is {number}.\nThe answer is {number}.", "rewards": [1.0, 0.0],
           "judge": "exact", "model": "m", "revision": ""}  # fmt: skip
    return row | more


def write_pairs(file, rows):
    """A file of these lines."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """The runs' folder, beside a current folder that holds prompts; two models are on the disk."""
    here = tmp_path / "work"
    here.mkdir()
    (here / "prompts.jsonl").write_text('{"prompt": "1 + 1?", "answer": "2"}\n', encoding="utf-8")
    monkeypatch.chdir(here)
    monkeypatch.setenv("MIO_LOCAL_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("MIO_LOCAL_THEME", "mio-dark")
    monkeypatch.setattr(offers, "local_models", lambda folder, named: (list(LOCAL), {}))
    return tmp_path / "runs"


def maker(monkeypatch, tmp_path, rows=None, *, gate=None, printed=PRINTED, code=0):
    """In the command's place a script that writes `rows` to pairs.jsonl and prints; with `gate` it waits for that file,
    or to be interrupted. Returns the arguments of each start."""
    script, told = tmp_path / "maker.py", []
    script.write_text(
        "import json, os, signal, sys, time\n"
        "def tell(done):\n"
        "    line = json.dumps({'doing': 'drawing answers, 8.2 answers/s, 337 tokens/s', 'done': done, 'total': 56})\n"
        "    print(line, file=sys.stderr, flush=True)\n"
        f"print({printed[0]!r}, flush=True)\n"
        "tell(20)\n"
        f"gate, rows, printed = {str(gate or '')!r}, {json.dumps(rows or [])}, {printed[1:]!r}\n"
        "try:\n"
        "    while gate and not os.path.exists(gate): time.sleep(0.02)\n"
        "except KeyboardInterrupt:\n"
        "    printed = ['stopped: 5 of 14 prompts done, 3 pairs written; the same command goes on']\n"
        "    rows = rows[:3]\n"
        "if rows:\n"
        "    open('pairs.jsonl', 'w').write(''.join(json.dumps(row) + chr(10) for row in rows))\n"
        "    open('pairs.jsonl.work', 'w').close()\n"
        "    open('pairs.jsonl.report.md', 'w').write('# 8 pairs\\n\\n## Examples\\n\\n    **an [red]example**\\n')\n"
        "for text in printed: print(text, flush=True)\n"
        f"sys.exit({code})\n",
        encoding="utf-8",
    )
    start = asyncio.create_subprocess_exec

    def scripted(*words, **options):
        told.append(list(words[4:]))
        return start(sys.executable, str(script), **options)

    monkeypatch.setattr(command_process.asyncio, "create_subprocess_exec", scripted)
    return told


@contextlib.asynccontextmanager
async def form(folder, size=(80, 24), tables=None):
    """The app with the form on top, and what it offers."""
    app = MioApp(folder)
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause()
        app.make_pairs(tables or {})
        await until(pilot, lambda: isinstance(app.screen, MakePairsScreen) and app.screen.offers)
        await pilot.pause(0.05)
        yield pilot, app.screen


@contextlib.asynccontextmanager
async def review(folder, file, size=(80, 24), tables=None):
    """The app with the review of a file on top, once it is read."""
    app = MioApp(folder)
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause()
        app.review_pairs(file, tables or {})
        await until(pilot, lambda: isinstance(app.screen, ReviewPairsScreen) and app.screen.review)
        await pilot.pause(0.05)
        yield pilot, app.screen


async def fill(pilot, screen):
    """Model and prompts are there, and the focus is on the judge."""
    for key, typed in (("model.name", "Qwen/Qwen3-0.6B"), ("make.prompts", "prompts.jsonl")):
        screen.field(key).query_one(Input).value = typed
    await until(pilot, lambda: screen.draft.text("make.prompts"))
    screen.focus_now("make.judge")


async def making(pilot):
    """The screen of the making, once that is over."""
    await until(pilot, lambda: isinstance(pilot.app.screen, MakingScreen) and pilot.app.screen.making.over)
    await pilot.pause(0.05)
    return pilot.app.screen
