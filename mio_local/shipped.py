"""The recipes and the demo's data, which ship inside the wheel and lie beside the package in a checkout."""

from pathlib import Path
from typing import Any

from mio_local.objectives.losses import dpo_beta
from mio_local.recipe import Recipe, build, read_toml


def recipe_folder() -> Path:
    """The folder of shipped recipes."""
    here = Path(__file__).parent
    beside = here.parent / "recipes"  # a checkout's own files are newer than a copy made at install time
    return beside if (beside / "demo.toml").exists() else here / "recipes"


def recipes() -> list[Path]:
    """Every shipped recipe, by name."""
    return sorted(recipe_folder().glob("*.toml"))


def demo_recipes(backend: str = "auto", device: str = "auto", steps: int = 0) -> tuple[Recipe, Recipe]:
    """The demo's two: MIO, and DPO at half its beta, which begins with the same gradient. `steps` 0 takes the recipe's
    own number. Raises RecipeError."""
    file = recipe_folder() / "demo.toml"
    overrides: dict[str, tuple[str, Any]] = {
        "backend.name": ("--backend", backend),
        "backend.device": ("--device", device),
    }
    if steps:
        overrides["train.steps"] = ("--steps", steps)
    mio = build(read_toml(file), str(file), overrides)
    halved = {"loss.name": ("--loss", "dpo"), "loss.beta": ("--beta", dpo_beta(mio.loss.beta))}
    return mio, build(read_toml(file), str(file), overrides | halved)
