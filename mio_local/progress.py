"""How long work tells how far it is."""

from collections.abc import Callable

Report = Callable[[str, int, int], None]  # (what is being done, done, total); total 0 where it has no count


def silent(what: str, done: int, total: int) -> None:
    """Report nothing."""
