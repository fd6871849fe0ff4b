"""By what a frozen recipe is known: its text, but for what changes nothing of the training."""

import re

from mio_local.storage.digests import text_digest

# `track = ...` in the table [train]: a run that goes on may have another tracker, or none
TRACK = re.compile(r"(?ms)(?P<before>^\[train\][^\n]*\n(?:(?!\[)[^\n]*\n)*?)track *=[^\n]*\n?")


def recipe_digest(text: str) -> str:
    """sha256 of recipe.toml without its tracker, where it has one."""
    return text_digest(TRACK.sub(r"\g<before>", text, count=1))
