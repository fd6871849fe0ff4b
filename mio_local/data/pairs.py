"""A preference pair, and the pairs of a dataset."""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from mio_local.data.detect import ColumnsError, Match, detect
from mio_local.data.formats.row import Row
from mio_local.data.messages import BadRow, Message, NoPreference, kind_of
from mio_local.data.reading.cells import Turns
from mio_local.data.reading.unpaired import Pairing
from mio_local.data.rows import read_rows, validation_split_of
from mio_local.data.stored.packed import Packed, Packing, packed
from mio_local.data.stored.pair import Pair
from mio_local.errors import DataError
from mio_local.recipe import DataSettings

DETECT_ROWS = 200  # a column may be null, or a row faulty, in the first rows
TRAIN = ("train", "training")
REMEDY = "; repair it, or --set data.bad_rows=skip"


class Pairs(Sequence[Pair]):
    """The pairs of a dataset, with its layout's name, the column of each role, and what is not among them."""

    def __init__(
        self,
        pairs: Iterable[Pair],
        layout: str,
        columns: dict[str, str],
        rows: int,
        skipped: dict[str, int],
        problem: str = "",
        found: Sequence[str] = (),
        *,
        unused: Sequence[str] = (),
        cut_prompts_in_answers: int = 0,
        undecided: int = 0,
    ) -> None:
        self.packed = pairs if isinstance(pairs, Packed) else packed(pairs)
        self.layout = layout
        self.columns = columns
        self.rows = rows  # rows read, with the skipped ones
        self.skipped = skipped  # rows by reason
        self.problem = problem  # what is wrong with the first skipped row that is faulty
        self.found = list(found)  # the columns that the first rows have
        self.unused = list(unused)  # columns with something in them that play no part, and fields of messages
        self.cut_prompts_in_answers = cut_prompts_in_answers  # pairs whose answers began with their prompt
        self.undecided = undecided  # comparisons of ranked answers that make no pair: equal scores, or none

    def __len__(self) -> int:
        return len(self.packed)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...
    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        return self.packed[index]

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.packed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def load_pairs(source: str, settings: DataSettings, *, split: str = "", revision: str = "") -> Pairs:
    """The pairs of a file, folder or hub dataset, in its order; `split` and `revision` default to the settings'.

    Reads at most `settings.limit` pairs when that is not 0. Raises `DataError` naming the row that is no pair, unless
    `settings.bad_rows` is "skip": then they are counted by reason. Raises `HubError` for what the hub cannot give.
    """
    rows = read_rows(source, split=split or settings.split, revision=revision or settings.revision)
    first = list(itertools.islice(rows, DETECT_ROWS))
    name = source.rstrip("/").rpartition("/")[2] or source
    match = detect(first, settings.columns, name, settings.ranking)
    loading = _Loading(match, settings)
    for row in itertools.chain(first, rows):
        loading.take(row)
        if loading.is_full:
            break
    return loading.loaded(name)


class _Loading:
    """Rows on their way to pairs."""

    def __init__(self, match: Match, settings: DataSettings) -> None:
        self.match, self.settings = match, settings
        self.pairs = Packing()
        self.skipped: Counter[str] = Counter()
        self.read = 0
        self.problem = self.undecided = ""
        self.filled: dict[str, None] = {}  # columns with something in them, in order
        self.pairing = Pairing()

    def take(self, row: Row) -> None:
        self.read += 1
        for column in row.values.keys() - self.filled.keys():
            if kind_of(row.values[column]) not in ("null", "empty") and row.values[column] != "":
                self.filled[column] = None
        try:
            made = self.match.pairs(row, text=self.settings.template == "none", system=self.settings.system)
            tools = self.match.tools(row)
            if self.match.is_unpaired:
                self._join(row, made[0], tools)
            else:
                for turns in made:
                    self.pairs.add(Pair(*turns, row.where, tools))
        except NoPreference as error:
            self.skipped[error.reason] += 1
            self.undecided = self.undecided or str(error)
        except BadRow as error:
            if self.settings.bad_rows == "error":
                raise DataError(f"{error}{REMEDY}") from None
            self.skipped[error.reason] += 1
            self.problem = self.problem or str(error)

    @property
    def is_full(self) -> bool:
        return 0 < self.settings.limit <= len(self.pairs)

    def _join(self, row: Row, turns: Turns, tools: list[dict[str, Any]] | None) -> None:
        key = prompt_key(turns[0]) + (json.dumps(tools, sort_keys=True) if tools else "")
        if pair := self.pairing.add(key, turns, self.match.is_good(row), row.where):
            self.pairs.add(Pair(*pair[0], pair[1], tools))

    def loaded(self, name: str) -> Pairs:
        match = self.match
        if (left := self.pairing.left) and not self.is_full:
            if not self.pairs:
                raise ColumnsError(
                    f"{name}: unpaired data ({', '.join(match.columns.values())}): no prompt has both a good and a bad "
                    "answer, so there is no pair in it; add answers of the other label to the same prompts", match.found
                )
            self.skipped["answers to a prompt without another of the other label"] += left
        if not self.pairs:
            first = self.problem or self.undecided
            raise ColumnsError(f"{name}: none of its {self.read} rows is a pair; the first: {first}", match.found)
        pairs = self.pairs.packed(self.settings.limit)
        order = [column for column in match.found if column in self.filled]
        filled = [*order, *sorted(self.filled.keys() - set(order))]
        return Pairs(
            pairs, match.layout.name, dict(match.columns), self.read, dict(self.skipped), self.problem, match.found,
            unused=match.unused(filled), cut_prompts_in_answers=match.counts["cut"],
            undecided=match.counts["undecided"],
        )  # fmt: skip


def held_out_source(settings: DataSettings) -> tuple[str, str]:
    """The source and split of the held-out pairs; both empty where a fraction of the data is held out.

    They are `eval_source`, or the validation split of a folder that has one beside the split to train on.
    """
    if settings.eval_source:
        return settings.eval_source, settings.eval_split or settings.split
    if settings.split in TRAIN and (split := validation_split_of(settings.source)):
        return settings.source, split
    return "", ""


def prompt_key(prompt: list[Message] | str) -> str:
    """A text that is the same for the same prompt, or for the same answer."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True, ensure_ascii=False)


def split_by_prompt(pairs: Sequence[Pair], fraction: float, seed: int) -> tuple["Some", "Some"]:
    """(train, held out): all pairs of one prompt on one side, and each side in the order of `pairs`.

    Holds out the given fraction of the prompts, rounded, and at least one where there are two or more; which ones
    depends on the seed and on the set of prompts, not on the order of the rows.
    """
    digests = [hashlib.sha256(f"{seed} {prompt_key(pair.prompt)}".encode()).digest() for pair in pairs]
    prompts = sorted(set(digests))
    count = round(fraction * len(prompts))
    if fraction > 0 and len(prompts) > 1:
        count = min(max(count, 1), len(prompts) - 1)
    held = set(prompts[:count])
    sides: tuple[list[int], list[int]] = [], []
    for number, digest in enumerate(digests):
        sides[digest in held].append(number)
    return Some(pairs, sides[0]), Some(pairs, sides[1])


class Some(Sequence[Pair]):
    """Those of some pairs that have these `numbers`."""

    def __init__(self, pairs: Sequence[Pair], numbers: Sequence[int]) -> None:
        self.pairs, self.numbers = pairs, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> "Some": ...
    def __getitem__(self, index: int | slice) -> "Pair | Some":
        if isinstance(index, slice):
            return Some(self.pairs, self.numbers[index])
        return self.pairs[self.numbers[index]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Some) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]
