"""The table's rows from the picture: one for each run, then the difference."""

from collections.abc import Callable, Sequence

from mio_local.runs.directory import LIVE
from mio_tui.compare.figures import heads
from mio_tui.compare.members import Member
from mio_tui.compare.picture import Picture
from mio_tui.compare.table import Row
from mio_tui.formatting import STATES, count


def table_heads(seen: Picture) -> list[str]:
    """The columns after the run's name."""
    return ["loss", *heads(seen.view, seen.columns), "state"]


def table_rows(seen: Picture, members: Sequence[Member], paint: Callable[[str], str], beta: bool) -> list[Row]:
    """`paint` gives a theme variable's style; `beta` writes it beside the objective."""
    rows = [_run_row(seen, member, paint, beta) for member in members]
    if seen.gap is not None:
        name, cells = seen.gap
        rows.append(Row("", name, ["", *cells, ""]))
    return rows


def _run_row(seen: Picture, member: Member, paint: Callable[[str], str], beta: bool) -> Row:
    lead = f"{member.letter} {member.sign}"
    if member.trouble:
        words = member.trouble.replace(f"{member.watched.run.path}/", "")  # the name beside it says where
        return Row(lead, member.name, words=words, style=paint("error"))
    rest = "" if member.shown else "dim"
    if member.letter not in seen.cells:
        return Row(lead, member.name, words="reading…", style=paint(f"run-{member.color}"), rest=rest)
    loss = member.watched.past.recipe.loss
    objective = loss.name.upper() + (f" β {loss.beta:g}" if beta else "")
    cells = [objective, *seen.cells[member.letter], _state(member)]
    return Row(lead, member.name, cells, style=paint(f"run-{member.color}") if member.shown else "", rest=rest)


def _state(member: Member) -> str:
    """Its sign and, while it trains, how far it is."""
    status, state = member.watched.status, member.watched.state
    sign = STATES.get(state, ("·", ""))[0]
    if state in LIVE and (total := count(status.get("total_steps"))):
        return f"{sign} {count(status.get('step'))}/{total}"
    return f"{sign} {state}"
