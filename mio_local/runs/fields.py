"""What a damaged file may hold, taken as what it should be and shown: nothing here raises, whatever JSON gave."""

import re
from socket import gethostname
from typing import Any

from mio_local.runs.events import is_number

NUMBERS = ("value", "low", "high", "stderr", "count")


def number(event: dict[str, Any], key: str) -> float | None:
    """A finite figure of an event, or None."""
    value = event.get(key)
    return value if is_number(value) else None


def figure(value: object, form: str) -> str:
    """A number in the given form, `+.3f` say, and no zero with a minus; a dash where there is none that is finite."""
    sign = "+" * form.startswith("+")
    return format(value, f"{sign}z{form.removeprefix('+')}") if is_number(value) else "—"


def table(value: object) -> dict[str, Any]:
    """A table, or an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[Any]:
    """A list, or an empty one."""
    return value if isinstance(value, list) else []


def adapted(value: object) -> str:
    """How much of a model is adapted, by run.json's list of names: 28 matrices in 4 blocks, as the app counts them."""
    names = listed(value)
    blocks = {found[1] for name in names if (found := re.search(r"\.(\d+)\.", str(name)))}
    count = f"{len(names)} {'matrix' if len(names) == 1 else 'matrices'}"
    return f"{count} in {len(blocks)} {'block' if len(blocks) == 1 else 'blocks'}" if blocks else count


def other_host(info: dict[str, Any]) -> str:
    """The machine that a run was trained on last, by its run.json; "" for this one, or where it does not say."""
    sessions = listed(info.get("sessions"))
    host = text(table(sessions[-1]).get("host")) if sessions else ""
    return "" if host == gethostname() else host


def device_of(info: dict[str, Any], otherwise: str) -> str:
    """What a run was trained on last, in words, by its run.json; `otherwise` where that does not say."""
    return text(table(info.get("facts")).get("device")) or otherwise


def text(value: object) -> str:
    """A setting or a fact in words: yes and no, lists with commas, nothing for nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(text(one) for one in value[:50])
    if isinstance(value, dict):
        return ", ".join(f"{name}={text(one)}" for name, one in list(value.items())[:50])
    if isinstance(value, float):
        return f"{value:g}"
    return str(value if value is not None else "")[:1000]


def benchmark(event: dict[str, Any]) -> dict[str, Any]:
    """The parts of a `benchmark` event that tables show; `data` is the run's own held-out pairs where it is empty."""
    words = {key: text(event.get(key, "")) for key in ("name", "metric", "of", "data")}
    return {"step": event["step"], **words, **{key: number(event, key) for key in NUMBERS}}
