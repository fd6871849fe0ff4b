"""The recipes and the demo's data, which ship inside the wheel and lie beside the package in a checkout."""

from pathlib import Path


def recipe_folder() -> Path:
    """The folder of shipped recipes."""
    here = Path(__file__).parent
    beside = here.parent / "recipes"  # a checkout's own files are newer than a copy made at install time
    return beside if (beside / "demo.toml").exists() else here / "recipes"


def recipes() -> list[Path]:
    """Every shipped recipe, by name."""
    return sorted(recipe_folder().glob("*.toml"))
