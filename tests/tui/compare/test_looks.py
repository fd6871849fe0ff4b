"""How Compare looks: filled, empty, damaged and busy, small and large, light, and without colour."""

import asyncio
from pathlib import Path

import pytest

from mio_local.runs.directory import Run
from mio_tui import formatting
from mio_tui.app import MioApp
from mio_tui.compare import save
from mio_tui.compare.pick import PickRun
from mio_tui.screens.compare import CompareScreen
from tests.helpers import fakes
from tests.helpers.tui import fake_rounds
from tests.helpers.tui.screens import Looks, look, screen_text

SIZES = ((80, 24), pytest.param((140, 45), marks=pytest.mark.slow))


@pytest.fixture
def shown(snapshot, monkeypatch, tmp_path):
    """The runs folder; and a function that opens runs, presses keys and compares the screen with the one kept."""
    monkeypatch.setenv("MIO_LOCAL_THEME", "mio-dark")
    monkeypatch.setattr(formatting, "now", lambda: fakes.NOW)
    monkeypatch.chdir(tmp_path)  # so that messages name no folder of this machine

    async def check(runs: list[Run], size: tuple[int, int], *keys: str, until: type = CompareScreen, say: str = ""):
        app = MioApp(Path("runs"))
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            app.compare(runs)
            await settled(pilot)
            for key in keys:
                await pilot.press(key)
                await settled(pilot)
            while not isinstance(app.screen, until) or say not in "\n".join(screen_text(app)):
                await pilot.pause(0.05)
            await pilot.pause(0.1)
            assert look(app) == snapshot(extension_class=Looks)

    return check


async def settled(pilot) -> None:
    await pilot.pause(0.1)
    for _ in range(200):
        screen = pilot.app.screen
        if not isinstance(screen, CompareScreen) or not (screen.working or screen._stale):
            return
        await pilot.pause(0.02)


def pair() -> list[Run]:
    runs = Path("runs")
    return [fakes.make_run(runs, "qwen3-mio"), fakes.make_run(runs, "qwen3-dpo", "stopped", 640, "dpo")]


@pytest.mark.parametrize("size", SIZES)
async def test_two_runs(shown, size):
    await shown(pair(), size)


@pytest.mark.parametrize("size", SIZES)
async def test_four_runs_one_damaged_one_hidden_and_one_that_waits(shown, size):
    runs = Path("runs")
    broken = fakes.make_run(runs, "broken")
    broken.recipe.write_text("[loss]\nbeta = '[/red] \x1b[31m'\n", encoding="utf-8")
    waiting = fakes.make_run(runs, "[INST] שלום 🦊", "queued", 0, stream=[])
    await shown([*pair(), broken, waiting], size, "down", "space")


@pytest.mark.parametrize("size", SIZES)
async def test_before_the_first_figure(shown, size):
    runs = Path("runs")
    await shown([fakes.make_run(runs, name, "queued", 0, stream=[]) for name in ("one", "two")], size)


@pytest.mark.parametrize("size", SIZES)
async def test_asking_for_another_run(shown, size):
    await shown(pair()[:1], size, until=PickRun)


async def test_no_other_run(shown):
    await shown([fakes.make_run(Path("runs"), "only")], (80, 24), until=PickRun)


async def test_one_run_left_alone(shown):
    await shown([fakes.make_run(Path("runs"), "only")], (80, 24), "escape")


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
async def test_loss_on_a_log_axis_by_time_zoomed_with_a_crosshair(shown, size):
    await shown(pair(), size, "m", "m", "l", "b", "b", "z", "left", "left")


async def test_margin_and_accuracy(shown):
    await shown(pair(), (80, 24), "m", "u")


@pytest.mark.parametrize("size", SIZES)
async def test_rewards(shown, size):
    runs = [fakes.make_run(Path("runs"), name, steps=steps, total=400, stream=list(fake_rounds.events(steps)))
            for name, steps in (("rounds", 200), ("more-rounds", 260))]  # fmt: skip
    await shown([*runs, fakes.make_run(Path("runs"), "pairs", steps=400)], size, "m", "m", "m")


async def test_an_export_at_work(shown, monkeypatch):
    async def forever(*given: object):
        await asyncio.sleep(60)

    monkeypatch.setattr(save, "export", forever)
    await shown(pair(), (80, 24), "e", "b", say="writing CSV and PNG…")


async def test_an_export_that_failed(shown, monkeypatch):
    monkeypatch.setattr(save, "target", lambda runs, histories: Path("gone/compare-qwen3-mio-qwen3-dpo"))
    await shown(pair(), (80, 24), "e", "c", say="✗")


async def test_light(shown, monkeypatch):
    monkeypatch.setenv("MIO_LOCAL_THEME", "mio-light")
    await shown(pair(), (140, 45))


async def test_without_colour(shown, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    await shown(pair(), (140, 45))
