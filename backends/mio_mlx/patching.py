"""Other calls for some of a model's modules, and other functions for those they use; mlx-lm's own stay as they are."""

import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any


def replace_calls(modules: Iterable[Any], call_of: Callable[[Any], Callable[..., Any]]) -> None:
    """Give each module a subclass of its own class, whose call is `call_of` that class."""
    made: dict[type, type] = {}
    for module in modules:
        cls = type(module)
        if cls not in made:
            made[cls] = type(cls.__name__, (cls,), {"__call__": call_of(cls)})
        module.__class__ = made[cls]


def namespaces(model: Any, name: str) -> list[Any]:
    """The Python modules of a model's blocks that have a function of mlx-lm's by that name."""
    found = {type(module).__module__ for block in model.layers for _, module in block.named_modules()}
    return [module for place in sorted(found) if hasattr(module := sys.modules[place], name)]


@contextmanager
def replaced(places: list[Any], name: str, other: Callable[[Any], Any]) -> Generator[None]:
    """In these Python modules, `other` of the function called `name` in its stead."""
    own = [getattr(place, name) for place in places]
    for place, function in zip(places, own, strict=True):
        setattr(place, name, other(function))
    try:
        yield
    finally:
        for place, function in zip(places, own, strict=True):
            setattr(place, name, function)
