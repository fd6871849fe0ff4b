"""Recognising the layout of a dataset from its columns, and reading its rows by it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

from mio_local.data.formats.row import Row
from mio_local.data.formats.written_values import looks_written, messages_in, written
from mio_local.data.layouts import LAYOUTS, PAIR, READ, UNPAIRED, Layout
from mio_local.data.messages import ROLES, BadRow, Message, NoPreference, fields_left, is_transcript, kind_of, text_of
from mio_local.data.parts.tool_calls import Calls, tools_of
from mio_local.data.reading import lookup
from mio_local.data.reading.answer_groups import REMEDY
from mio_local.data.reading.beside_pairs import NO_PAIR, make_beside
from mio_local.data.reading.cells import OTHERS, REWARDS, Cells, Made, Turns, optional_text, turns_of
from mio_local.data.reading.media import MEDIA, check_media
from mio_local.data.reading.plain_texts import SURE, repeats_prompt, whole_prompt
from mio_local.data.reading.roles import KIND_NAMES, SYNONYMS, ColumnsError, find_roles, no_layout
from mio_local.data.reading.unpaired import is_good
from mio_local.data.reading.wanted import PAIRS, Wanted
from mio_local.text import kind_name

__all__ = ["SYNONYMS", "ColumnsError", "Match", "detect"]
OPTIONAL = ("input", "history", "system", "context", "tools")
TEXTS = ("text", "transcript")
WRITTEN = "looks like messages written as text"
WRITTEN_REMEDY = "; write them as JSON (json.dumps), or the file as Parquet or JSONL"


@dataclass(frozen=True)
class Match:
    """The layout of a dataset, the column that plays each role, and all the columns found.

    `reader` is the layout that reads what `layout` makes, or `layout` itself. What rows are told of by reading them is
    kept in `counts` (`cut`: prompts taken off their answers, `undecided`: comparisons that make no pair), in `left`
    (fields of messages that are not used) and in `answers_left` (answers that are in no group, by reason).
    `drawn`: whether there is a column of several answers, used or not.
    """

    layout: Layout
    columns: Mapping[str, str]
    found: Sequence[str]
    reader: Layout
    written: frozenset[str] = frozenset()  # roles with messages in their cells, which may be written as text
    ranking: str = "best-worst"
    repeats: bool = False  # most answers begin with their prompt
    counts: Counter[str] = field(default_factory=Counter[str])
    left: set[str] = field(default_factory=set[str])
    wanted: Wanted = PAIRS
    drawn: bool = False
    answers_left: Counter[str] = field(default_factory=Counter[str])

    @property
    def is_unpaired(self) -> bool:
        return self.layout.name.startswith(UNPAIRED)

    def read(self, row: Row, *, text: bool = False, system: str = "") -> Turns:
        """The first pair of a row; most layouts have one in each."""
        return self.groups(row, text=text, system=system)[0][0]

    def groups(self, row: Row, *, text: bool = False, system: str = "") -> list[tuple[Turns, tuple[float, ...]]]:
        """Prompt and answers of each pair or group of a row, after `system` where it has no system message of its own,
        and the answers' rewards where they are wanted.

        Raises `BadRow` naming the row and what is wrong with it.
        """
        try:
            cells = self.cells(row)
            check_media({name: row.values[name] for name in MEDIA if name in row.values
                         and name not in self.columns.values()}, cells.get("prompt"), row.where)
            made = self.made(cells, row.where)
            self.counts["undecided"] += made.undecided
            if made.left:
                self.answers_left.update(made.left)
            return [(self._pair(cells, row.where, text, system), cells.get(REWARDS, ())) for cells in made.cells]
        except RecursionError:
            raise BadRow(row.where, "is nested too deep") from None

    def made(self, cells: Cells, where: str) -> Made:
        """The cells of each pair or group of a row. Raises BadRow."""
        if self.layout.make:
            made = self.layout.make(cells, self.columns, where, self.ranking, self.wanted)
        elif self.wanted.groups:
            made = make_beside(cells, self.columns, where, [cells.get("rejected")], self.wanted)
        elif self.drawn and all(kind_of(cells.get(role)) == "null" for role in PAIR):
            raise NoPreference(where, NO_PAIR)
        else:
            return Made([cells])
        if self.wanted.rewarded and any(REWARDS not in each for each in made.cells):
            raise BadRow(where, "its answers have no reward", REMEDY)
        return made

    def tools(self, row: Row) -> Calls | None:
        """The schemas of a row's tools."""
        get = lookup.reader(self.columns["tools"], self.found) if "tools" in self.columns else None
        return tools_of(get(row.values), row.where) if get else None

    def is_good(self, row: Row) -> bool:
        """The label of an unpaired row."""
        column = self.columns["label"]
        return is_good(lookup.reader(column, self.found)(row.values), column, row.where)

    def cells(self, row: Row) -> dict[str, Any]:
        """A row's values by role, messages as such."""
        cells: dict[str, Any] = {}
        for role, column in self.columns.items():
            value = row.values.get(column)
            if value is None and column not in self.found:
                value = lookup.reader(column, self.found)(row.values)
            if role in self.written and isinstance(value, str) and (messages := messages_in(value)) is not None:
                value = messages
            cells[role] = value
        return cells

    def unused(self, filled: Iterable[str]) -> list[str]:
        """Of the columns with something in them those that play no part, and the fields of messages left out."""
        used = {lookup.top_of(column, self.found) for column in self.columns.values()}
        return [column for column in filled if column not in used] + sorted(self.left)

    def _pair(self, cells: Cells, where: str, text: bool, system: str) -> Turns:
        for role, kind in self.reader.kinds.items():
            if kind != "none" and role not in OPTIONAL:
                _check(cells.get(role), kind, self._shown(role), where)
                if not isinstance(cells[role], str):
                    self.left.update(f"{self.columns.get(role, role)}[].{name}" for name in fields_left(cells[role]))
        for other in cells.get(OTHERS, ()):
            kind = "text" if isinstance(other, str) else self.reader.kinds["rejected"]
            _check(other, kind, self._shown("rejected"), where)
        if self.reader.kinds["prompt"] in TEXTS and self.reader.kinds["chosen"] == "text":
            cells = {**cells, "prompt": whole_prompt(cells, where)}
            if (self.repeats or len(cells["prompt"]) >= SURE) and repeats_prompt(cells):
                cut = partial(_cut, prompt=cells["prompt"])
                cells = {**cells, **{role: cut(cells[role]) for role in PAIR}}
                cells[OTHERS] = [*map(cut, cells.get(OTHERS, ()))]
                self.counts["cut"] += 1
        prompt, *answers = self.reader.read(cells, where, text)
        return turns_of(with_system(prompt, optional_text(cells, "system", where) or system), answers)

    def _shown(self, role: str) -> str:
        column = self.columns.get(role, role)
        return column if column == role or role in ("prompt", "answers") else f"{role} ({column})"


def _cut(answer: str, prompt: str) -> str:
    """An answer without the prompt that it begins with; as it is where nothing else is in it."""
    rest = answer.removeprefix(prompt)
    return rest if rest.strip() else answer


def _check(value: Any, kind: str, role: str, where: str) -> None:
    found = kind_of(value)
    if found == "null":
        raise BadRow(where, f"{role} is missing")
    if found == "empty":
        raise BadRow(where, f"{role} is empty")
    if found == "text" and looks_written(value):
        raise BadRow(where, f"{role} {WRITTEN}", WRITTEN_REMEDY)
    if kind in TEXTS:
        text_of(value, role, where)
    elif found != kind.replace("answered", "messages"):
        raise BadRow(where, f"{role} must be {KIND_NAMES[kind]}, not {KIND_NAMES.get(found) or kind_name(value)}")


def with_system(prompt: list[Message] | str, system: str) -> list[Message] | str:
    """The prompt after a system message, where it has none of its own."""
    if not system or (not isinstance(prompt, str) and prompt[0]["role"] == "system"):
        return prompt
    turns: list[Message] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return [{"role": "system", "content": system}, *turns]


def detect(
    rows: Sequence[Row], columns: Mapping[str, str], source: str, ranking: str = "best-worst", wanted: Wanted = PAIRS
) -> Match:
    """The layout of `rows` (the first few hundred of a dataset), with `columns` as role -> column where given.

    `ranking` says which pairs several ranked answers make, and `wanted` what else is read of a row. Raises
    `ColumnsError` that lists the columns found and proposes the nearest one.
    """
    found = list(dict.fromkeys(column for row in rows for column in row.values))

    @cache
    def kind(column: str) -> str:
        return kind_of_column(rows, found, column)

    roles = find_roles(columns, found, kind, source)
    kinds = {role: kind(column) for role, column in roles.items()}
    for role in ("prompt", *PAIR, "answer_a", "answer_b", "completion"):
        if kinds.get(role) == "written":
            raise ColumnsError(f"{source}: {roles[role]} {WRITTEN}{WRITTEN_REMEDY}", found)
    layout = _fitting(LAYOUTS, kinds)
    if layout is None:
        known = "; ".join(layout.shows for layout in LAYOUTS)
        raise ColumnsError(f"{source}: {no_layout(roles, kind, found, known)}", found)
    needed = {role for role, kind in layout.kinds.items() if kind != "none"} | {"system", "tools"}
    needed |= _beside(roles, kinds, wanted)
    text = kinds.get("prompt") in TEXTS
    used = {role: column for role, column in roles.items()
            if role in needed or role == "prompt" or (role in OPTIONAL and text) or (
                layout.make and role in ("scores", "winner_b", "tie", "completion"))}
    talks = frozenset(role for role in used if kinds[role] not in TEXTS)
    match = Match(layout, used, found, layout, talks, ranking, wanted=wanted, drawn="candidates" in roles)
    return _with_reader(match, rows)


def kind_of_column(rows: Sequence[Row], found: Sequence[str], column: str) -> str:
    """The commonest kind of a column's cells; `none` where there is no such column among those `found`."""
    if column not in found and not any(lookup.nested(row.values, column) is not lookup.MISSING for row in rows):
        return "none"
    get = lookup.reader(column, found)
    values = [get(row.values) for row in rows]
    if column in (*SYNONYMS["candidates"], *SYNONYMS["scores"]):  # lists, also where they are written as text
        values = [given if isinstance(v, str) and (given := written(v)) is not None else v for v in values]
    return _commonest(values)


def _with_reader(match: Match, rows: Sequence[Row]) -> Match:
    """The match with the layout that reads what its own makes, and with what most answers begin with."""
    made: list[Cells] = []
    for row in rows:
        try:
            cells = match.cells(row)
            made += match.made(cells, row.where).cells if match.layout.make else [cells]
        except (BadRow, RecursionError):
            continue  # reading the row will say so
    reader = match.layout
    if match.layout.make:
        kinds = {role: _commonest([cells.get(role) for cells in made]) for role in ("prompt", "input", *PAIR)}
        kinds = {role: "none" if kind == "null" else kind for role, kind in kinds.items()}
        reader = _fitting(READ, kinds) or next(layout for layout in READ if layout.name == "text")
    repeats = [_repeats(cells) for cells in made] if reader.kinds["prompt"] in TEXTS else []
    return replace(match, reader=reader, repeats=2 * sum(repeats) >= max(1, len(repeats)))


def _beside(roles: Mapping[str, str], kinds: Mapping[str, str], wanted: Wanted) -> set[str]:
    """The roles that are read beside a pair, where they are wanted: answers that have a score, and rewards."""
    scored = "scores" in roles or kinds.get("candidates") == "objects"
    drawn = {"candidates", "scores"} if wanted.groups and scored else set[str]()
    return drawn | ({"chosen_reward", "rejected_reward"} if wanted.rewarded else set())


def _repeats(cells: Cells) -> bool:
    try:
        return repeats_prompt({**cells, "prompt": whole_prompt(cells, "")})
    except (BadRow, AttributeError, TypeError):
        return False


def _fitting(layouts: Sequence[Layout], kinds: Mapping[str, str]) -> Layout | None:
    """The first of the layouts that these kinds of cells show."""
    kinds = dict(kinds)
    if "prompt" in kinds and kinds["prompt"] != "none":
        for role in PAIR:  # only a dataset without a prompt column has transcripts for answers
            kinds[role] = kinds.get(role, "none").replace("transcript", "text")
    fitting: tuple[Callable[[str, str], bool], ...] = (_same, _unclear)
    for fits in fitting:  # the second names what is wrong with a row, where no column has the right kind
        for layout in layouts:
            if all(fits(kinds.get(role, "none"), kind) for role, kind in layout.kinds.items()):
                return layout
    return None


def _same(found: str, kind: str) -> bool:
    return found == kind or (found, kind) == ("answered", "messages") or (
        kind == "any" and found not in ("none", "null"))


def _unclear(found: str, kind: str) -> bool:
    return _same(found, kind) or (kind != "none" and found in ("other", "null", "objects", "conversations"))


def _commonest(values: Sequence[Any]) -> str:
    """The commonest kind of cell that is not null."""
    counts = Counter(map(_kind, values))
    del counts["null"], counts["empty"]
    return counts.most_common(1)[0][0] if counts else "null"


def _kind(value: Any) -> str:
    """`kind_of`, and `transcript`, `answered` (messages that end with an answer), `written` (that nothing reads)."""
    if isinstance(value, str):
        messages = messages_in(value)
        if messages is None:
            return "written" if looks_written(value) else "transcript" if is_transcript(value) else "text"
        value = messages
    kind = kind_of(value)
    if kind == "messages" and ROLES.get(str(value[-1].get("role") or value[-1].get("from")).lower()) == "assistant":
        return "answered"
    return kind
