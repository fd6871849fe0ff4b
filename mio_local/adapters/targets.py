"""Layers by what a target says: their name, the end of it, or a regular expression for the whole name, as PEFT's is."""

import re
from collections.abc import Sequence

from mio_local.learning import is_pattern


def matched(target: str, inside: Sequence[tuple[str, str]]) -> list[str]:
    """The names among `inside` that `target` means, each beside what it is called in its block."""
    if is_pattern(target):
        return [name for _, name in inside if re.fullmatch(target, name)]
    return [name for leaf, name in inside if leaf == target or leaf.endswith(f".{target}")]


def there_are(inside: Sequence[tuple[str, str]]) -> str:
    """The last parts of these names, and a whole one."""
    return f"there are {', '.join(sorted({leaf.rpartition('.')[2] for leaf, _ in inside}))}, as {inside[0][1]}"
