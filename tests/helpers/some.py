"""Cases of which some are run by `make test`, and all others by `make slow`."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def fast(cases: Iterable[Any], chosen: Collection[Any]) -> list[Any]:
    """The cases as `parametrize` takes them, all but the chosen ones marked slow. ValueError where one is none of them,
    so that a case that is renamed is not lost to the fast tests."""
    cases = list(cases)
    if missing := [one for one in chosen if one not in cases]:
        raise ValueError(f"not among the cases: {missing}")
    return [one if one in chosen else pytest.param(one, marks=pytest.mark.slow) for one in cases]


def first(count: int, cases: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Cases of several values, all but the first `count` marked slow."""
    return [pytest.param(*one, marks=pytest.mark.slow if number >= count else ()) for number, one in enumerate(cases)]
