"""The run to compare with: the newest other one of the same model and data."""

import tomllib
from typing import Any

from mio_local.runs import directory
from mio_local.runs.directory import Run


def newest_other(run: Run) -> Run | None:
    """The newest other run in the same folder whose recipe names the same model and data; None where there is none."""
    wanted = _names(run)
    if wanted is None:
        return None
    others = (other for other in directory.list_runs(run.path.parent) if other.name != run.name)
    return next((other for other in others if _names(other) == wanted), None)


def _names(run: Run) -> tuple[Any, Any] | None:
    try:
        tables = tomllib.loads(run.recipe_text())
        return tables["model"]["name"], tables["data"]["source"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
