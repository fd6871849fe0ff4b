"""The models that there are to choose from on this disk, and names that are paths. Slow enough for a thread."""

import os
from pathlib import Path

from mio_local.models import hub
from mio_local.models.hub import ModelCard
from mio_tui.new.lookups.suggestions import used_models

MOST = 300


def local_models(folder: Path, named: str) -> tuple[list[ModelCard], dict[str, float]]:
    """The models on this disk: the one `named` and those of earlier runs first, then the hub's cache and this folder's.
    And when those of earlier runs were used last, Unix seconds."""
    before = used_models(folder)
    used = [named] * bool(named) + [name for name in before if name != named]
    folders = [Path(os.path.expanduser(name)) for name in used if is_folder(name)]
    cards = hub.on_disk([Path.cwd(), *folders])[:MOST]
    order = {str(path.resolve()): number for number, path in enumerate(folders)}
    order |= {name: number for number, name in enumerate(used)}
    when = {str(Path(os.path.expanduser(name)).resolve()): then for name, then in before.items() if is_folder(name)}
    return sorted(cards, key=lambda card: order.get(card.name, len(used))), before | when


def models_at(typed: str) -> tuple[list[ModelCard], str]:
    """The model in the folder that was typed, or those in the folders below it; and why there is none."""
    path = Path(typed).expanduser()
    if not path.is_dir():
        return [], f"{typed}: no such folder"
    cards = hub.on_disk([path])
    here = str(path.resolve())
    found = [card for card in cards if card.name == here or Path(card.name).parent == path.resolve()]
    return found, "" if found else f"{typed}: no model here (config.json and *.safetensors)"


def is_path(typed: str) -> bool:
    """Whether a folder or file is meant, and no name on the hub."""
    return typed.startswith(("/", ".", "~"))


def names_folder(name: str) -> bool:
    """Whether a model's name is a folder's to the trainer, there or not."""
    return is_path(name) or name.count("/") > 1 or is_folder(name)


def is_folder(name: str) -> bool:
    """Whether there is such a folder."""
    return os.path.isdir(os.path.expanduser(name))  # unlike Path's own, these take any text


def shown(name: str) -> str:
    """A path as people write it: from this folder, or from home."""
    path = Path(name)
    if path.is_absolute():
        for base, sign in ((Path.cwd(), "."), (Path.home(), "~")):
            if path.is_relative_to(base):
                return f"{sign}/{path.relative_to(base)}"
    return name


def has_template(folder: Path) -> bool:
    """Whether a model's folder holds a chat template."""
    if (folder / "chat_template.jinja").exists():
        return True
    try:
        return '"chat_template"' in (folder / "tokenizer_config.json").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
