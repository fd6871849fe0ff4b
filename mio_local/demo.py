"""The demo's two recipes: MIO, and DPO at half its beta, which begins with the same gradient."""

from typing import Any

from mio_local.recipe import Recipe, build, read_toml
from mio_local.shipped import recipe_folder


def recipes(backend: str = "auto", device: str = "auto", steps: int = 0) -> tuple[Recipe, Recipe]:
    """MIO's and DPO's; `steps` 0 takes the recipe's own number. Raises RecipeError."""
    file = recipe_folder() / "demo.toml"
    overrides: dict[str, tuple[str, Any]] = {
        "backend.name": ("--backend", backend),
        "backend.device": ("--device", device),
    }
    if steps:
        overrides["train.steps"] = ("--steps", steps)
    mio = build(read_toml(file), str(file), overrides)
    halved = {"loss.name": ("--loss", "dpo"), "loss.beta": ("--beta", mio.loss.beta / 2)}
    return mio, build(read_toml(file), str(file), overrides | halved)
