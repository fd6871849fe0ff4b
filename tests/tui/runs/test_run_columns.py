"""The columns of the list: which fit, what they say, and the order that they make."""

from dataclasses import replace
from itertools import pairwise

import pytest
from rich.cells import cell_len

from mio_local.runs.summary import Row
from mio_tui import formatting
from mio_tui.formatting import short, short_rate
from mio_tui.runs.listing import arrange, facts, head, remarks
from mio_tui.runs.run_columns import COLUMNS, GAP, Order, fitted, needs, next_column, placed
from tests.helpers import fakes

NOW = fakes.NOW
FULL = Row(
    "Qwen2.5-1.5B-Instruct-mio-12", "failed", "mio", "Qwen2.5-1.5B-Instruct", "pairs.jsonl", "412/1000", 1.64, 0.66,
    "MLX ran out of memory: 7.9 of 8.0 GB were in use; try --batch-size 2", NOW - 7200, 0.979, 2.5e-5, 0.05, 16,
    tags=("best", "long"),
)  # fmt: skip


def names(width: int, rows: list[Row]) -> list[str]:
    return [place.name for place in placed(needs(rows), width)]


@pytest.mark.parametrize(
    "rows", [[FULL], [], [Row("a", "done")], [replace(FULL, name="日本" * 30, tags=("長い",) * 9)]]
)
def test_columns_stand_side_by_side_at_every_width(rows: list[Row]) -> None:
    before = 0
    for width in range(40, 260):
        places = placed(needs(rows), width)
        assert places[0].left == 1
        assert all(place.width > 0 for place in places)
        assert [place.left + place.width + GAP for place in places[:-1]] == [place.left for place in places[1:]]
        assert places[-1].left + places[-1].width <= width
        assert [place.name for place in places] == [name for name in COLUMNS if name in names(width, rows)]
        assert len(places) >= before  # more room shows no fewer
        before = len(places)


def test_what_is_shown_at_the_usual_sizes() -> None:
    """Beside the curves, which take a quarter, at least 36 cells, from 110 columns on."""
    first, last = ["state", "run", "objective"], ["change", "accuracy", "loss", "step", "when"]
    assert names(80 - 1, [FULL]) == [*first, "rate", *last]
    assert names(140 - 36 - 1, [FULL]) == [*first, "rate", "beta", "rank", *last, "tags"]
    assert names(200 - 50 - 1, [FULL]) == list(COLUMNS)
    without = replace(FULL, note="", tags=(), model="")
    assert not {"told", "tags", "model"} & set(names(250, [without]))  # nothing to show is not shown


def test_words_have_their_width_and_names_keep_their_ends() -> None:
    for words in ("", "short", "a name that is long", "日本語の名前", "🦜" * 20, "\x1b[31m", "a" * 500):
        for width in range(1, 30):
            assert cell_len(fitted(words, width)) == width
            assert cell_len(fitted(words, width, right=True, middle=True)) == width
    assert fitted("Qwen2.5-1.5B-mio-12", 11, middle=True) == "Qwen2…io-12"
    assert fitted("Qwen2.5-1.5B-mio-12", 11) == "Qwen2.5-1.…"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1e-5, "1e-5"), (2.5e-5, "2.5e-5"), (5e-4, "5e-4"), (0.001, "0.001"), (1.0, "1"), (0, "0"), (None, "")],
)
def test_a_rate_as_people_write_it(value: float | None, shown: str) -> None:
    assert short_rate(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.4033, "+1.40"), (-0.001, "+0.00"), (14.03, "+14.0"), (-140.3, "-140"), (99999.0, "+1e+05"), (None, "—"),
        (1e308, "+1e+308"), (float("nan"), "—"), (10**400, "—"),
    ],
)  # fmt: skip
def test_a_figure_keeps_to_its_column(value: float | None, shown: str) -> None:
    assert short(value, 2, "+") == shown


def rows_of(column: str, values: list[object]) -> list[Row]:
    return [replace(FULL, name=f"r{number}", **{"note": "", column: value}) for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("column", "attribute", "values", "order"),
    [
        ("rate", "rate", [1e-4, None, 1e-5, 1e-3], "r2 r0 r3 r1"),
        ("beta", "beta", [0.1, 0.05, None, 0.2], "r1 r0 r3 r2"),
        ("rank", "rank", [16, 8, 64, None], "r1 r0 r2 r3"),
        ("change", "change", [-1.0, 2.0, None, 0.5], "r1 r3 r0 r2"),
        ("accuracy", "accuracy", [0.5, None, 0.7], "r2 r0 r1"),
        ("loss", "loss", [0.9, 0.3, None], "r1 r0 r2"),
        ("step", "step", ["9/10", "100", "[/]", "20/1000"], "r1 r3 r0 r2"),
        ("objective", "objective", ["mio", "dpo", ""], "r1 r0 r2"),
        ("tags", "tags", [("b",), (), ("a", "c")], "r2 r0 r1"),
        ("told", "note", ["z", "", "a"], "r2 r0 r1"),
        ("state", "state", ["failed", "training", "done", "queued"], "r3 r1 r2 r0"),
        ("model", "model", ["b", "A"], "r1 r0"),
    ],
)
def test_every_column_orders_and_turns(column: str, attribute: str, values: list[object], order: str) -> None:
    """What has no figure comes last, either way round."""
    rows = rows_of(attribute, values)
    assert " ".join(row.name for row in arrange(rows, "", Order(column))) == order
    found = arrange(rows, "", Order(column, True))
    empty = [row for row in rows if COLUMNS[column].value(row) in (None, "", ())]
    known = [row for row in arrange(rows, "", Order(column)) if row not in empty]
    assert found == known[::-1] + empty


def test_names_are_ordered_as_people_count() -> None:
    rows = [Row(name, "done") for name in ("run-10", "Run-9", "run", "alpha2", "run-9b")]
    assert [row.name for row in arrange(rows, "", Order("run"))] == ["alpha2", "run", "Run-9", "run-9b", "run-10"]


def test_by_time_those_that_live_come_first_then_those_that_wait() -> None:
    states = [("done", 5), ("queued", 9), ("training", 1), ("failed", 7), ("paused", 3)]
    rows = [Row(state, state, time=float(time)) for state, time in states]
    order = ["training", "paused", "queued", "failed", "done"]
    assert [row.name for row in arrange(rows, "", Order())] == order
    assert arrange(rows, "", Order())[0].name == "training"  # not by its time, which changes with each step
    turned = [row.name for row in arrange(rows, "", Order(turned=True))]
    assert turned == ["done", "failed", "queued", "training", "paused"]


def test_the_next_column_is_one_that_is_shown() -> None:
    places = placed(needs([FULL]), 79)
    seen, name = [], "when"
    for _ in places:
        name = next_column(places, name)
        seen.append(name)
    assert seen == [place.name for place in places]
    assert next_column(places, "rank") == "state"  # which a narrower terminal left out


def test_every_fact_is_said_below_the_table() -> None:
    said = facts(FULL).plain
    settings = ("MIO", "lr 2.5e-5", "β 0.05", "rank 16", "#best", "#long")
    for words in ("✗ failed", FULL.name, FULL.model, FULL.data, *settings):
        assert words in said
    assert remarks(replace(FULL, remark="try again", verdict="forgetting: chosen −8.7")).plain == (
        f"{FULL.note} · forgetting: chosen −8.7 · try again"
    )
    assert facts(None).plain == remarks(None).plain == ""
    assert "β" not in facts(replace(FULL, objective="sft")).plain


def test_the_head_counts() -> None:
    states = ["training"] + 2 * ["queued"] + 298 * ["done"]
    rows = [Row(f"r{number}", state) for number, state in enumerate(states)]
    assert head(rows, 12, "sweep", ()).plain == "mio-local   runs 12 of 301 /sweep   ● 1 training · ◌ 2 queued"
    assert head(rows[3:], 298, "", ("▸ 2 marked", "")).plain == "mio-local   runs 298   ▸ 2 marked"


def test_ages_change_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a minute, and not each run's at a second of its own."""
    rows = [replace(FULL, name=f"r{number}", time=NOW - 1000 - 7 * number) for number in range(60)]
    shown = []
    for second in range(180):
        monkeypatch.setattr(formatting, "now", lambda second=second: NOW + second)
        shown.append([COLUMNS["when"].words(row) for row in rows])
    changes = [second for second in range(1, 180) if shown[second] != shown[second - 1]]
    assert len(changes) == 3
    assert {later - earlier for earlier, later in pairwise(changes)} == {60}
