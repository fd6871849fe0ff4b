"""All that a comparison shows, made from the histories in one go. Runs in a thread."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from rich.text import Text

from mio_tui.chart.axes import Range
from mio_tui.compare import differences
from mio_tui.compare.curves import Panel, View, panels
from mio_tui.compare.figures import PLAIN, Common, columns, common, difference, figures
from mio_tui.compare.members import Member
from mio_tui.formatting import line


@dataclass(frozen=True)
class Picture:
    """Curves, the step of the figures, and their cells by letter; `columns` are those of them
    that any run has; `gap` is first less second of two runs shown."""

    view: View = field(default_factory=View)
    panels: tuple[Panel, Panel] = (Panel("chosen", ()), Panel("rejected", ()))
    at: Common = field(default_factory=Common)
    columns: tuple[str, ...] = PLAIN
    cells: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    gap: tuple[str, list[str]] | None = None
    head: Text = field(default_factory=Text)


def picture(view: View, members: Sequence[Member], held: Range | None, values: bool) -> Picture:
    """`held` is the y range that the likelihood panels have now; `values` puts the settings' values into the head."""
    with ExitStack() as locks:
        for member in members:
            locks.enter_context(member.watched.lock)
        return _picture(view, members, held, values)


def _picture(view: View, members: Sequence[Member], held: Range | None, values: bool) -> Picture:
    at = common(members)
    readable = [member for member in members if member.watched.history is not None]
    found = {member.letter: figures(member.watched.past, at, view) for member in readable}
    drawn = [member.letter for member in members if member.drawn]
    gap, names = None, columns(found.values())
    if len(drawn) == 2:
        gap = (" − ".join(drawn), difference(found[drawn[0]], found[drawn[1]], view, names))
    cells = {letter: each.cells(view, names) for letter, each in found.items()}
    return Picture(view, panels(view, members, held), at, names, cells, gap, _head(members, readable, values))


def caption(seen: Picture, members: Sequence[Member]) -> Text:
    """What the figures are, and where they stand in."""
    if not any(member.drawn for member in members):
        return line("no run is shown: space shows the one under the cursor")
    against = "against the start" if seen.view.change else "absolute; margin against the start"
    unit = f"{seen.view.unit} {against}"
    match seen.at.kind:
        case "eval":
            return line(f"held out at step {seen.at.step} · {unit}")
        case "step":
            why = "no later held-out step in common" if _any(members, "eval") else "no evaluations yet"
            return line(f"{why}: training batches at step {seen.at.step} · {unit}")
        case _:
            return line("no step in common yet" if _any(members, "eval", "step") else "no figures yet")


def _any(members: Sequence[Member], *kinds: str) -> bool:
    return any(member.drawn and member.watched.past.of(kind) for member in members for kind in kinds)


def _head(members: Sequence[Member], readable: Sequence[Member], values: bool) -> Text:
    text = Text("Compare  ", style="bold", no_wrap=True, overflow="ellipsis")
    count = len(members)
    if count < 2:
        words = "one run" if count else "no run"
        return text.append(f"{words} · i adds another to compare with", style="not bold")
    text.append(f"{count} runs", style="not bold")
    if len(readable) > 1:
        text.append(" · ", style="not bold")
        text.append_text(differences.words([member.watched.past for member in readable], values))
    return text
