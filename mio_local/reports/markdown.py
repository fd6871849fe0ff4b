"""Texts from outside as parts of a page that is to be shared: shown as they are, never read as markup."""

import os
import re
from typing import Any

from markupsafe import Markup

from mio_local.text import visible

SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~$&])")


def shown(value: Any) -> Any:
    """Text with its lines kept, its other control characters visible, and the home folder's name left out."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "\n".join(visible(line) for line in homeless(value).split("\n"))


def plain(value: Any) -> Any:
    """The same as Markdown that is nothing but text, on one line."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return SIGNS.sub(r"\\\1", visible(homeless(value)))


def homeless(text: str) -> str:
    """The home folder and paths in it from `~`, which the program reads as well: a report is to be shared."""
    home = os.path.expanduser("~")
    return re.sub(rf"(?<![\w./~-]){re.escape(home)}(?![\w-]|\.\w)", "~", text) if len(home) > 1 else text


def fenced(text: str, language: str = "") -> Markup:
    """A code block whose fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}{language}\n{shown(text)}\n{fence}")
