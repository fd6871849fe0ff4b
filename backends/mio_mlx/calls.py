"""Another call for some of a model's modules, mlx-lm's own classes staying as they are."""

from collections.abc import Callable, Iterable
from typing import Any


def replace_calls(modules: Iterable[Any], call_of: Callable[[Any], Callable[..., Any]]) -> None:
    """Give each module a subclass of its own class, whose call is `call_of` that class."""
    made: dict[type, type] = {}
    for module in modules:
        cls = type(module)
        if cls not in made:
            made[cls] = type(cls.__name__, (cls,), {"__call__": call_of(cls)})
        module.__class__ = made[cls]
