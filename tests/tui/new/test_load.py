"""The shipped recipes in the dialog that loads one."""

from pathlib import Path

from mio_local.shipped import recipes
from mio_tui.app import MioApp
from mio_tui.new.load import LoadRecipe
from tests.helpers.tui.screens import screen_text, until


async def test_a_recipes_name_is_no_part_of_its_words(tmp_path: Path) -> None:
    """`sft-then-mioThe paper's pipeline`: the longest name filled its column."""
    app = MioApp(tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        app.push_screen(LoadRecipe())
        await until(pilot, lambda: "Load a recipe" in "\n".join(screen_text(app)))
        for file in recipes():
            first = file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ").split()[0]
            [line] = [line for line in screen_text(app) if f" {file.stem} " in line]
            assert line.split()[line.split().index(file.stem) + 1] == first
