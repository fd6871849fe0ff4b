"""What the recipes of several runs share, and where they differ."""

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from mio_local.errors import MioError
from mio_local.recipe import Recipe, keys
from mio_local.runs.history import History
from mio_tui.formatting import line

BASIS = ("model", "data", "seed")  # runs that differ here are hard to compare
GROUPS = {"train.seed": "seed"} | {
    key: section for key in keys() if (section := key.partition(".")[0]) in ("model", "data")
}
_LAST = ("train", "lora", "eval", "backend")


def words(histories: Sequence[History], values: bool) -> Text:
    """"same model, data, seed ✓ · differs: loss.name", in one line; with the values of each run where asked."""
    tables = [_flat(history.recipe) for history in histories]
    differing = sorted((key for key in tables[0] if len({str(table[key]) for table in tables}) > 1), key=_order)
    unequal = {GROUPS[key] for key in differing if key in GROUPS}
    # the pairs that are held out depend on the seed and on their number; a run that waits has no digest yet
    digests = {_digest(history) for history in histories} - {""}
    changed = not unequal and "eval.pairs" not in differing and len(digests) > 1
    if changed:
        unequal.add("data")
    text = Text(no_wrap=True, overflow="ellipsis")
    if same := [name for name in BASIS if name not in unequal]:
        text.append(f"same {', '.join(same)} ✓ · ")
    if changed:
        text.append("! the data changed between the runs · ")
    if not differing:
        return text.append("no setting differs")
    text.append("differs: ")
    for number, key in enumerate(differing):
        text.append((", " if number else "") + ("! " if key in GROUPS else "") + key)
        if values:
            text.append(" ").append_text(line(" | ".join(_short(table[key]) for table in tables), 60))
    return text


def _flat(recipe: Recipe) -> dict[str, Any]:
    return {f"{section}.{key}": value for section, table in recipe for key, value in table}


def _order(key: str) -> tuple[int, int]:
    """What makes runs hard to compare, then the objective, then the rest."""
    section = key.partition(".")[0]
    return (0 if key in GROUPS else 1, _LAST.index(section) + 1 if section in _LAST else 0)


def _digest(history: History) -> str:
    """The digest of the tokenised pairs, empty where the run has none yet."""
    try:
        return str(history.run.read_info().get("data_digest", ""))
    except (MioError, OSError):
        return ""


def _short(value: object) -> str:
    """A value in a few characters: of a path only its end."""
    text = str(value) if value not in ("", []) else "—"
    return text.rstrip("/").rpartition("/")[2] or text
