"""A command that is run from the app: how far it is, what it made, how it ends."""

import asyncio
import os
import sys

import psutil
import pytest

from mio_tui.actions import command_process
from mio_tui.actions.command_process import CommandProcess
from mio_tui.actions.command_screen import CommandScreen, typed
from mio_tui.actions.readable_report import readable
from tests.helpers import fakes
from tests.helpers.tui.runs_screen import listed
from tests.helpers.tui.screens import seen, until


@pytest.fixture
def run(tmp_path):
    return fakes.make_run(tmp_path / "runs", "mine", steps=50)


@pytest.mark.slow
async def test_a_report_is_written_and_read(run):
    async with listed(run.path.parent, rows=1, size=(100, 40)) as (pilot, screen):
        await pilot.press("full_stop", "w")
        await until(pilot, lambda: isinstance(pilot.app.screen, CommandScreen))
        await until(pilot, lambda: pilot.app.screen.command.over)
        await until(pilot, lambda: "Held-out figures" in seen(pilot))
        assert f"✓ report: {run.path / 'report.html'}"[:60] in seen(pilot)
        assert (run.path / "report.html").read_text().startswith("<!DOCTYPE html>")
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        await pilot.press("full_stop", "l")
        await until(pilot, lambda: "Held-out figures" in seen(pilot))


async def test_what_goes_wrong_is_one_line(run):
    """This run has no adapter, and its model is nowhere."""
    command = CommandProcess(run, "Check mine", [["check", "--nonsense"]])
    await command.work()
    assert command.code == 2
    assert command.last.startswith("unrecognized arguments: --nonsense")
    assert not any("Traceback" in line for line in command.lines)


async def test_progress_is_told_by_the_command_itself(run):
    seen_steps = []
    command = CommandProcess(run, "Report of mine", [["report"]])
    command.changed = lambda: seen_steps.append(command.doing)
    await command.work()
    assert "reading the runs" in seen_steps
    assert not any("reading the runs" in line for line in command.lines)  # told once
    assert command.code == 0


def slow_command(tmp_path, monkeypatch):
    """In each command's place one that takes ten minutes, with a child, whose number is in this file."""
    child = tmp_path / "child"
    script = tmp_path / "slow.py"
    script.write_text(
        "import os, subprocess, sys, time\n"
        "one = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(child)!r}, 'w').write(str(one.pid))\n"
        "time.sleep(600)\n"
    )
    start = asyncio.create_subprocess_exec

    def slow(*words, **options):
        return start(sys.executable, str(script), **options)

    monkeypatch.setattr(command_process.asyncio, "create_subprocess_exec", slow)
    return child


def lives(number):
    """Whether this process is there, and no zombie."""
    try:
        os.kill(number, 0)
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


async def test_a_command_is_stopped_and_takes_its_children_with_it(run, monkeypatch, tmp_path):
    child = slow_command(tmp_path, monkeypatch)
    command = CommandProcess(run, "Evaluate mine", [["eval"], ["never"]])
    work = asyncio.create_task(command.work())
    while not child.exists() or not child.read_text():
        await asyncio.sleep(0.02)
    await command.stop()
    await work
    assert command.over
    assert command.last == "stopped"
    while lives(int(child.read_text())):
        await asyncio.sleep(0.02)


async def test_leaving_the_app_asks_and_ends_what_works(run, tmp_path, monkeypatch):
    child = slow_command(tmp_path, monkeypatch)
    async with listed(run.path.parent, rows=1) as (pilot, _):
        await pilot.press("full_stop", "k")
        await until(pilot, lambda: isinstance(pilot.app.screen, CommandScreen))
        await until(pilot, lambda: child.exists() and child.read_text())
        await pilot.press("escape", "q")
        await until(pilot, lambda: "leaving ends it" in seen(pilot))
        await pilot.press("escape")
        assert lives(int(child.read_text()))
        await pilot.press("q", "q")
    while lives(int(child.read_text())):
        await asyncio.sleep(0.02)


def test_the_command_is_as_one_would_type_it(run):
    command = CommandProcess(run, "Export as mlx: mine", [["export", "--to", "mlx"]])
    assert typed(command) == f"mio-local export mine --runs {run.path.parent} --to mlx"


MARKDOWN = r"""<!-- mio-local report -->
# A \*title\*

**healthy: chosen \[red\]x\[/\]**

| run | chosen | accuracy |
|---|--:|--:|
| one \| two | +1.281 ± 0.098 | 0.580 [0.482, 0.672] |

```toml
a = "**b**"
| c |
```
<details><summary>the frozen recipe</summary>
"""


def test_a_report_is_read_without_signs_and_with_whole_figures():
    wide, narrow = (readable(MARKDOWN, width) for width in (80, 30))
    assert wide.plain.split("\n")[:5] == [
        "A *title*", "", "healthy: chosen [red]x[/]", "", "run        chosen          accuracy",
    ]  # fmt: skip
    assert "one | two  +1.281 ± 0.098  0.580 [0.482, 0.672]\n" in wide.plain
    assert "run       one | two\nchosen    +1.281 ± 0.098\naccuracy  0.580 [0.482, 0.672]\n" in narrow.plain
    for text in (wide, narrow):
        assert "---" not in text.plain
        assert '  a = "**b**"\n  | c |\n' in text.plain
        assert text.plain.endswith("the frozen recipe\n\n")
        bold = [text.plain[span.start : span.end] for span in text.spans if str(span.style) == "bold"]
        assert "healthy: chosen [red]x[/]" in bold
