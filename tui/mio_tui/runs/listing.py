"""The list of runs: filtered and ordered, and the lines above and below it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from mio_local.runs.summary import Row
from mio_local.text import visible_line
from mio_tui.formatting import STATES, line, short_rate
from mio_tui.runs.run_columns import COLUMNS, Order, told

COUNTED = (  # in the head line: sign, states, word
    ("●", ("starting", "training", "stopping"), "training"),
    ("‖", ("paused",), "paused"),
    ("◌", ("queued",), "queued"),
)


def arrange(rows: Sequence[Row], words: str, order: Order) -> list[Row]:
    """The rows that hold every word, in that order; those that have nothing to be ordered by come last."""
    column = COLUMNS[order.column]
    wanted = words.lower().split()
    keyed = [(column.value(row), row) for row in rows if not wanted or all(word in _haystack(row) for word in wanted)]
    known = [one for one in keyed if one[0] not in (None, "", ())]
    known.sort(key=lambda one: one[0], reverse=column.down != order.turned)
    return [row for _, row in known] + [row for value, row in keyed if value in (None, "", ())]


def _haystack(row: Row) -> str:
    return " ".join((row.name, row.model, row.objective, row.state, row.data, *row.tags, *told(row))).lower()


def head(rows: Sequence[Row], shown: int, words: str, more: Sequence[str]) -> Text:
    """The first row of the screen: `shown` of the `rows` pass the filter."""
    made = Text("mio-local", style="bold").append("   runs ", style="not bold")
    if words:
        made.append(f"{shown} of {len(rows)} /").append_text(line(words, 30))
    else:
        made.append(str(len(rows)), style="not bold")
    states = Counter(row.state for row in rows)
    counts = [(sign, sum(states[one] for one in of), word) for sign, of, word in COUNTED]
    if live := " · ".join(f"{sign} {count} {word}" for sign, count, word in counts if count):
        made.append(f"   {live}")
    return made.append("".join(f"   {one}" for one in more if one), style="not bold")


def facts(row: Row | None) -> Text:
    """What the highlighted run is, in one line below the table: also what its columns cut or leave out."""
    if row is None:
        return Text()
    sign, _ = STATES[row.state]
    settings = (
        row.objective.upper(),
        f"lr {short_rate(row.rate)}" if row.rate is not None else "",
        f"β {row.beta:g}" if row.beta is not None and row.objective != "sft" else "",
        f"rank {row.rank:g}" if row.rank is not None else "",
        row.model,
        row.data,
        *(f"#{tag}" for tag in row.tags),
    )
    made = Text(f"{sign} {row.state}  ", no_wrap=True, overflow="ellipsis").append_text(line(row.name, 100, "bold"))
    return made.append("  ").append_text(line(" · ".join(one for one in settings if one), 300))


def remarks(row: Row | None) -> Text:
    """All that there is to say of the highlighted run; takes as many lines as it needs."""
    return Text(visible_line(" · ".join(told(row)), 600)) if row else Text()


def empty(folder: Path) -> Text:
    """What stands where no run is."""
    return (
        Text("No runs yet\n\n", style="bold")
        .append(" n  New run: pick a model, a preference dataset, start\n", style="not bold")
        .append(" m  Make pairs: a model answers your prompts, a rule or you judge\n", style="not bold")
        .append(" d  Demo: two small runs, MIO then DPO, on the shipped model (no download)\n\n", style="not bold")
        .append("Runs live in ", style="not bold")
        .append_text(line(folder, 300))
    )
