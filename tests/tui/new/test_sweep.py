"""Several values of one or two settings: a run for each, one after the other, and compared."""

from pathlib import Path
from typing import Any

import pytest

from mio_local.errors import RecipeError
from mio_local.recipe import build, read_toml
from mio_local.runs.directory import Run
from mio_tui.app import MioApp
from mio_tui.new.draft import Draft
from tests.helpers.tui import new_run_form
from tests.helpers.tui.new_run_form import TABLES, box, form, go, settled, text, toasts, type_into
from tests.helpers.tui.screens import until

folder = new_run_form.folder


@pytest.fixture
def put_in_line(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[Run], Run | None]]:
    """What was launched, and after which run."""
    found: list[tuple[list[Run], Run | None]] = []
    monkeypatch.setattr("mio_tui.new.begin.launch", lambda queue, *_, after=None: found.append((queue, after)))
    return found


@pytest.mark.slow
async def test_a_run_for_each_value_one_after_the_other_and_compared(
    folder: Path, put_in_line: list[Any], monkeypatch: Any
) -> None:
    compared: list[list[Run]] = []
    monkeypatch.setattr(MioApp, "compare", lambda self, runs: compared.append(list(runs)))
    async with form(folder, (80, 24), TABLES, name="try") as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 2)
        await type_into(pilot, screen, "loss.beta", "0.1, 0.2")
        await type_into(pilot, screen, "train.learning_rate", "1e-5, 2e-5")
        assert "2 values: a run for each" in text(screen)
        await until(pilot, lambda: screen.state.needs)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "✓ 4 runs, one after the other, compared as they train" in text(screen))
        await pilot.press("s")
        await until(pilot, lambda: compared)
    names = ["try-beta0.1-lr1e-5", "try-beta0.1-lr2e-5", "try-beta0.2-lr1e-5", "try-beta0.2-lr2e-5"]
    assert [[run.name for run in queue] for queue, _ in put_in_line] == [[name] for name in names]
    assert [after and after.name for _, after in put_in_line] == [None, *names[:-1]]
    assert [run.name for run in compared[0]] == names
    recipes = [build(read_toml(run.recipe), "test") for run in compared[0]]
    told = [(recipe.loss.beta, recipe.train.learning_rate) for recipe in recipes]
    assert told == [(0.1, 1e-5), (0.1, 2e-5), (0.2, 1e-5), (0.2, 2e-5)]


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"loss.beta": "0.1, x"}, "loss.beta x: input should be a valid number"),
        ({"loss.beta": "0.1, 0"}, "loss.beta 0: input should be greater than 0"),
        ({"loss.beta": "0.1, 0.10"}, "loss.beta has one value twice"),
        ({"loss.beta": "1, 2, 3", "lora.rank": "1, 2, 4"}, "loss.beta makes 9 runs; 8 are the most"),
        ({"loss.beta": "1, 2", "lora.rank": "1, 2", "train.seed": "1, 2"},
         "loss.beta with lora.rank and train.seed: two settings may have several values"),
        ({"data.max_tokens": "64, 128"}, "data.max_tokens 64, 128: input should be a valid integer"),
        ({"loss.beta": "0,1"}, "loss.beta 0,1: input should be a valid number"),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_told(values: dict[str, str], wrong: str) -> None:
    draft = Draft(TABLES)
    for key, value in values.items():
        draft.set(key, value)
    key, message = next(iter(draft.errors().items()))
    assert f"{key} {message}".startswith(wrong)
    with pytest.raises(RecipeError):
        draft.recipes()


def test_both_objectives_of_each_value_have_names_and_command_lines_of_their_own() -> None:
    draft = Draft(TABLES, "n")
    draft.both = True
    draft.set("loss.beta", "0.1, 0.2")
    found = [(recipe.loss.name, recipe.loss.beta) for recipe in draft.recipes()]
    assert found == [("mio", 0.1), ("dpo", 0.05), ("mio", 0.2), ("dpo", 0.1)]
    assert list(draft.variants()) == ["beta0.1-mio", "beta0.1-dpo", "beta0.2-mio", "beta0.2-dpo"]
    commands = draft.commands()
    assert len(commands) == 4
    assert "--beta 0.2 --name n-beta0.2-mio" in commands[2]
    draft.set("train.sft_epochs", "1")
    with pytest.raises(RecipeError, match="not with several values of loss"):
        draft.recipes()


def test_several_values_stay_through_the_text_while_the_first_does() -> None:
    draft = Draft(TABLES)
    draft.set("loss.beta", "0.2, 0.3")
    assert draft.recipe().loss.beta == 0.2
    draft.take_toml(draft.toml())
    assert draft.text("loss.beta") == "0.2, 0.3"
    draft.take_toml(draft.toml().replace("0.2", "0.7"))
    assert draft.text("loss.beta") == "0.7"


@pytest.mark.slow
async def test_a_sweep_that_breaks_off_says_how_far_it_came(folder: Path, monkeypatch: Any) -> None:
    put: list[Run] = []

    def launch(queue: list[Run], *_: str, after: Run | None = None) -> None:
        if put:
            raise OSError(28, "No space left on device")
        put.extend(queue)

    monkeypatch.setattr("mio_tui.new.begin.launch", launch)
    async with form(folder, (80, 24), TABLES, name="try") as (pilot, screen):
        await settled(pilot, screen)
        await go(pilot, screen, 2)
        await type_into(pilot, screen, "lora.rank", "4, 8, 16")
        await until(pilot, lambda: screen.state.needs)
        await pilot.press("ctrl+s", "s")
        await until(pilot, lambda: "1 of 3 runs were put in line, the rest were not" in toasts(screen))
        assert not screen.state.starting
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["try-rank4"]


async def test_names_that_are_taken_are_told(folder: Path) -> None:
    (folder / "try-beta0.2").mkdir(parents=True)
    async with form(folder, tables=TABLES, name="try") as (pilot, screen):
        await go(pilot, screen, 2)
        await type_into(pilot, screen, "loss.beta", "0.1, 0.2")
        assert "try-beta0.2: taken" in screen.state.name_error
        assert box(screen, "loss.beta").value == "0.1, 0.2"
