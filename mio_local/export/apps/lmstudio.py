"""LM Studio: where it looks for models, which is MODELS/publisher/model/file.gguf."""

from pathlib import Path

from mio_local.errors import RunError

PUBLISHER = "mio-local"
POINTER = ".lmstudio-home-pointer"  # a file in the user's home that names LM Studio's folder


def models_folder() -> Path:
    """The folder of models: of the home that LM Studio names, else of ~/.lmstudio, or ~/.cache/lm-studio where only the
    older one is there."""
    home = Path.home()
    new, old = home / ".lmstudio", home / ".cache" / "lm-studio"
    try:
        named = (home / POINTER).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        named = ""
    root = Path(named) if named and Path(named).is_dir() else old if old.is_dir() and not new.is_dir() else new
    return root / "models"


def place_for(name: str, file_name: str) -> Path:
    """Where a model called `name` goes. Raises RunError where one is there."""
    folder = models_folder() / PUBLISHER / name
    if folder.exists():
        raise RunError(f"{folder}: is there already, and is left alone; give another --name, or remove that folder")
    return folder / file_name


def key_of(place: Path) -> str:
    """What LM Studio's own commands call the model at `place`."""
    return "/".join(place.parts[-3:])
