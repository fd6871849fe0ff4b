"""An input for a path or a name, in which Tab completes a path as shells do, and leads on where nothing is left to."""

import os
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

MOST = 2000  # entries of a folder that are looked at


class PathInput(Input):
    """Tab completes what is the only way to go on, else as far as all ways agree."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "complete", "Complete, or next field", show=False)]

    def action_complete(self) -> None:
        """Complete the path before the cursor; where nothing is to be added, go to the next field."""
        longer = completed(self.value) if self.cursor_position == len(self.value) else ""
        if len(longer) > len(self.value):
            self.value = longer
            self.cursor_position = len(longer)
        else:
            self.screen.focus_next()


def completed(typed: str) -> str:
    """The path as far as it can only go on in one way, a folder's with the slash behind it; as typed otherwise."""
    folder, part = os.path.split(typed)
    if not typed:
        return typed
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            names: list[str] = []
            for _, entry in zip(range(MOST), entries, strict=False):
                if entry.name.startswith(part) and (part.startswith(".") or not entry.name.startswith(".")):
                    names.append(entry.name + "/" * entry.is_dir())
    except (OSError, ValueError):
        return typed
    common = os.path.commonprefix(names)  # noqa: RUF071 - letter by letter it shall be
    if "\x00" in common or not common.isprintable():  # no field shows that
        return typed
    return os.path.join(folder, common) if common else typed
