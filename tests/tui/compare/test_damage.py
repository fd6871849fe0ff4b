"""Compare: damaged and hostile runs, errors of its own, and every size of terminal."""

import shutil

import pytest

from mio_local.runs.directory import Run
from mio_tui.app import MioApp
from mio_tui.dialogs import Ask
from tests.helpers import fakes
from tests.helpers.tui.compare_screen import NARROW, WIDE, curves, opened, pair_in, press, row, settled
from tests.helpers.tui.screens import screen_text, seen


@pytest.fixture
def pair(tmp_path) -> tuple[Run, Run]:
    return pair_in(tmp_path)


async def test_a_damaged_run_is_listed_and_left_out(tmp_path, pair):
    broken = fakes.make_run(tmp_path, "broken")
    broken.recipe.write_text("[loss]\nbeta = '[/red] \x1b[31m'\n", encoding="utf-8")
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, pair[0], broken, pair[1])
        found = next(text for text in screen_text(app) if "broken" in text)
        assert found.startswith("  B ✗ broken")
        assert "recipe.toml" in found
        assert row(app, "A − C")
        assert not any(name.startswith("B") for name in curves(screen, 0))
        await press(pilot, "down", "space", "e")
        assert isinstance(app.screen, Ask)


@pytest.mark.parametrize("what", ["events", "empty", "status", "gone"])
async def test_other_damage(tmp_path, pair, what):
    broken = fakes.make_run(tmp_path, "broken", steps=100)
    match what:
        case "events":
            broken.events.write_bytes(b"\x00\xff{[\n" * 50)
        case "empty":
            broken.events.write_bytes(b"")
        case "status":
            broken.status.write_text("[1, 2", encoding="utf-8")
        case "gone":
            shutil.rmtree(broken.path)
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, pair[0], broken)
        found = " ".join(row(app, "B"))
        words = {"events": "none of its 50 lines is an event", "empty": "—", "status": "✗ damaged", "gone": "✗ broken"}
        assert words[what] in found
        drawn = any(name.startswith("B") and x.size for name, (x, _) in curves(screen, 0).items())
        assert drawn == (what == "status")


@pytest.mark.slow
async def test_hostile_values_stay_values(tmp_path):
    nasty = ["[/INST]", "[red]", "\x1b[31m", None, True, [], {}, 1e308, -3, "x" * 200_000]
    stream = [
        {"type": kind, "step": number, "time": value, "delta/chosen": value,
         "delta/rejected": value, "loss": value, "rewards/accuracies": value, "num_tokens": value,
         "perf/seconds": "[red]", "perf/memory_peak": value, "perf/tokens_per_second": value}
        for number, value in enumerate(nasty) for kind in ("step", "eval")
    ]  # fmt: skip
    runs = [
        fakes.make_run(tmp_path, name, "failed", stream=stream, reason="[/INST]\x1b[31m")
        for name in ("[INST] [red]x", "\x1b[31m\nשלום 🦊 " + "y" * 200)
    ]
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, *runs)
        for keys in ("u", "a", "b", "b", "m", "m", "l", "s", "z", "left"):
            await press(pilot, keys)
            assert "\x1b" not in seen(pilot)
        assert "[INST] [red]x" in seen(pilot)
        assert "\\u{1b}[31m" in seen(pilot)


async def test_what_cannot_be_drawn_is_said_and_the_app_lives(tmp_path, pair, monkeypatch):
    app = MioApp(tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        screen = await opened(pilot, *pair)
        monkeypatch.setattr(
            "mio_tui.screens.compare.picture", lambda *given: (_ for _ in ()).throw(ValueError("[red]bad\x1b[31m"))
        )
        await press(pilot, "m")
        assert "✗ ValueError: [red]bad\\u{1b}[31m" in seen(pilot)
        monkeypatch.undo()
        await press(pilot, "m")
        assert "✗" not in seen(pilot)
        assert app.screen is screen


@pytest.mark.slow
async def test_sizes(tmp_path, pair):
    damaged = fakes.make_run(tmp_path, "damaged")
    damaged.recipe.write_text("[", encoding="utf-8")
    app = MioApp(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, *pair, damaged)
        for size in ((20, 5), (250, 80), (59, 16), (60, 15), (60, 16), (80, 24), (109, 31), (110, 32), (200, 20)):
            await pilot.resize_terminal(*size)
            await settled(pilot)
            await press(pilot, "z", "left", "m", "escape")
            shown = screen_text(app)
            if size[0] < 60 or size[1] < 16:
                assert "terminal too small" in "".join(shown)
            else:
                assert sum("A ━ one" in text for text in shown) == 1
                assert row(app, "A − B")
                assert any("C ✗ damaged" in text for text in shown)
            await press(pilot, "escape")
