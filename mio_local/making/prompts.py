"""Prompts to ask, with the known answers beside them: of any layout that pairs come in, and of prompts alone."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from mio_local.data.detect import ColumnsError, Match, detect, kind_of_column, with_system
from mio_local.data.formats.opening import encoding_of, open_bytes
from mio_local.data.formats.row import Row
from mio_local.data.messages import Answer, BadRow, Message, is_plain, messages_of, text_of
from mio_local.data.pairs import DETECT_ROWS, REMEDY
from mio_local.data.reading import lookup
from mio_local.data.reading.cells import optional_text
from mio_local.data.reading.plain_texts import user_last, whole_prompt
from mio_local.data.reading.roles import SYNONYMS, find_roles
from mio_local.data.rows import read_rows
from mio_local.data.stored.preference_pair import prompt_key
from mio_local.data.template import Chat
from mio_local.errors import DataError
from mio_local.making.answered import Asked
from mio_local.recipe import DataSettings
from mio_local.storage.paths import expanded

TEXT = ".txt"  # a prompt a line
KNOWN = ("chosen", "completion")  # roles of a known answer, beside the names below
NAMES = ("answer", "solution", "target", "reference", "gold", "final_answer", "output", "response", "completion")


@dataclass
class Prompts:
    """Prompts in their order, each once. `repeated` counts rows whose prompt had been read before, `skipped` those that
    are none, by reason, and `cut` the prompts without their start."""

    asked: list[Asked] = field(default_factory=list[Asked])
    repeated: int = 0
    skipped: Counter[str] = field(default_factory=Counter[str])
    cut: int = 0

    @property
    def known(self) -> int:
        """How many have a known answer."""
        return sum(one.known is not None for one in self.asked)

    def told(self) -> list[str]:
        """What became of prompts that are not asked as they are, a line for each kind."""
        lines = [f"{count:,} prompts skipped: {why}" for why, count in self.skipped.items()]
        if self.cut:
            lines.append(f"{self.cut:,} prompts cut at their start, as --set data.long_prompt=cut says")
        return lines


def read_prompts(source: str, settings: DataSettings, limit: int = 0) -> Prompts:
    """The prompts of a file, folder or hub dataset, of which `limit` says how many at most; 0 takes all. Raises
    DataError, HubError."""
    if not source:
        raise DataError("no prompts given: pass --prompts with a file, a folder or a hub dataset")
    rows = _rows(source, settings)
    first = list(itertools.islice(rows, DETECT_ROWS))
    read = _reader(first, settings, source.rstrip("/").rpartition("/")[2] or source)
    found, seen = Prompts(), set[str]()
    for row in itertools.chain(first, rows):
        try:
            asked = read(row)
        except BadRow as error:
            if settings.bad_rows == "error":
                raise DataError(f"{error}{REMEDY}") from None
            found.skipped[error.reason] += 1
            continue
        key = prompt_key(asked.prompt)
        if key in seen:
            found.repeated += 1
            continue
        if limit and len(found.asked) == limit:
            break
        seen.add(key)
        found.asked.append(asked)
    if not found.asked:
        raise DataError(f"{source}: holds no prompts")
    return found


def prompt_ids(chat: Chat, asked: Asked) -> list[int]:
    """The tokens that a prompt is asked with, after the system message of the chat's settings. Raises DataError."""
    return asked.ids or chat.generation_prompt(with_system(asked.prompt, chat.settings.system), asked.tools)


def askable(prompts: Prompts, chat: Chat, answer_tokens: int) -> Prompts:
    """Those that the template takes, with their tokens, which leave room for an answer of `answer_tokens`, or half of
    `data.max_tokens` where that is less. Raises DataError for another, unless such are to be skipped or cut."""
    settings = chat.settings
    found = Prompts([], prompts.repeated, Counter(prompts.skipped))
    longest = settings.max_tokens - min(answer_tokens, settings.max_tokens // 2)
    for one in prompts.asked:
        try:
            ids = prompt_ids(chat, one)
        except DataError as error:
            if settings.bad_rows == "error":
                raise DataError(f"{one.where}: {error}{REMEDY}") from None
            found.skipped["the chat template does not take it"] += 1
            continue
        if len(ids) > longest and settings.long_prompt == "error":
            left = max(settings.max_tokens - len(ids), 0)
            raise DataError(
                f"{one.where}: its prompt has {len(ids):,} tokens, which leaves {left:,} of --max-tokens "
                f"{settings.max_tokens:,} for an answer of --answer-tokens {answer_tokens:,}; raise it, or skip or cut "
                "such prompts with --set data.long_prompt=skip or =cut"
            )
        if len(ids) > longest and settings.long_prompt == "skip":
            found.skipped["prompt is too long"] += 1
            continue
        if len(ids) > longest:
            kept = int(ids[0] == chat.bos)
            ids = ids[:kept] + ids[len(ids) - longest + kept :]
            found.cut += 1
        found.asked.append(replace(one, ids=ids))
    if not found.asked:
        raise DataError(f"no prompt is left to ask after skipping {sum(found.skipped.values()):,}")
    return found


def _rows(source: str, settings: DataSettings) -> Iterator[Row]:
    path = expanded(source, "--prompts")
    if path.suffix.lower() != TEXT or not path.is_file():
        yield from read_rows(source, split=settings.split, revision=settings.revision)
        return
    with open_bytes(path) as file:
        content = file.read()
    try:
        lines = content.decode(encoding_of(content)).removeprefix("\ufeff").split("\n")  # U+2028 may stand in a text
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason}); convert it to UTF-8") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield Row({"prompt": line.strip()}, f"{path.name} line {number}")


def _reader(first: Sequence[Row], settings: DataSettings, name: str) -> Callable[[Row], Asked]:
    """How a row becomes a prompt: as of a pair, where the rows are pairs; else by its prompt and its answer alone."""
    try:
        match = detect(first, settings.columns, name, settings.ranking)
    except ColumnsError as error:
        columns = _columns(first, settings.columns, name)
        if "prompt" not in columns:
            raise DataError(f"{error}; or name the prompts' column with --columns prompt=NAME") from None
        return lambda row: _alone(row, columns, settings)
    return lambda row: _of_pair(row, match, settings)


def _of_pair(row: Row, match: Match, settings: DataSettings) -> Asked:
    text = settings.template == "none"
    prompt, chosen, *_ = match.read(row, text=text)
    known: Answer | None = chosen if not match.is_unpaired or match.is_good(row) else None
    return Asked(prompt, known, row.where, dict(row.values), match.tools(row))


def _columns(first: Sequence[Row], given: Mapping[str, str], name: str) -> dict[str, str]:
    """The columns of the prompt, of what belongs to it, and of the known answer, by role."""
    found = list(dict.fromkeys(column for row in first for column in row.values))
    kind = cache(lambda column: kind_of_column(first, found, column))
    roles = find_roles(given, found, kind, name)
    columns = {role: roles[role] for role in ("prompt", "input", "context", "system") if role in roles}
    known = [roles[role] for role in KNOWN if role in roles]
    known += [column for column in (*SYNONYMS["chosen"], *NAMES) if column in found]
    free = [column for column in known if column not in columns.values() and kind(column) not in ("none", "null")]
    return {**columns, "known": free[0]} if free else columns


def _alone(row: Row, columns: Mapping[str, str], settings: DataSettings) -> Asked:
    cells = {role: lookup.reader(column, row.values)(row.values) for role, column in columns.items()}
    where = row.where
    known = _known(cells.get("known"), where)
    if isinstance(cells["prompt"], str):
        text_of(cells["prompt"], "prompt", where)
        prompt: list[Message] | str = whole_prompt(cells, where)
    else:
        turns = messages_of(cells["prompt"], "prompt", where)
        if turns and turns[-1]["role"] == "assistant":
            known = known or (turns[-1]["content"] if is_plain(turns[-1]) else turns[-1:])
            turns = turns[:-1]
        if not turns:
            raise BadRow(where, "prompt is empty")
        prompt = user_last(turns, where)
    if system := optional_text(cells, "system", where):
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        prompt = turns if turns[0]["role"] == "system" else [{"role": "system", "content": system}, *turns]
    return Asked(prompt, known, where, dict(row.values))


def _known(value: Any, where: str) -> Answer | None:
    """An answer that the data has: a text, a number or messages; None for another thing."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool | int | float) and value == value:  # no nan
        return str(value)
    if isinstance(value, list | dict) and value:
        try:
            return messages_of(value, "answer", where)
        except BadRow:
            return None
    return None
