"""A preference pair, and the pairs of a dataset."""

import hashlib
import itertools
import json
import mmap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mio_local.data.detect import ColumnsError, Match, detect
from mio_local.data.formats.row import Row
from mio_local.data.messages import BadRow, NoPreference, kind_of
from mio_local.data.reading.cells import Turns
from mio_local.data.reading.unpaired import Pairing
from mio_local.data.reading.wanted import PAIRS, Wanted
from mio_local.data.rows import local_files, read_rows, validation_split_of
from mio_local.data.stored import cache
from mio_local.data.stored.on_demand import OnDemand
from mio_local.data.stored.packed import Packed, Packing, packed
from mio_local.data.stored.preference_pair import Pair, prompt_key
from mio_local.data.stored.repetitions import Repetitions, repetitions
from mio_local.errors import DataError
from mio_local.process import rarely_collected
from mio_local.recipe import DataSettings
from mio_local.storage.digests import digest_of

DETECT_ROWS = 200  # a column may be null, or a row faulty, in the first rows
TRAIN = ("train", "training")
BLOB, ENDS, HELD = "pairs.bin", "ends.npy", "held.npy"  # files of the cache
REMEDY = "; repair it, or --set data.bad_rows=skip"


class Pairs(Packed):
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
        answers_left: Mapping[str, int] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        flat = pairs if isinstance(pairs, Packed) else packed(pairs)
        super().__init__(flat.blob, flat.ends)
        self.key = ""  # what they are kept by, where they are
        self.layout = layout
        self.columns = columns
        self.rows = rows  # rows read, with the skipped ones
        self.skipped = skipped  # rows by reason
        self.problem = problem  # what is wrong with the first skipped row that is faulty
        self.found = list(found)  # the columns that the first rows have
        self.unused = list(unused)  # columns with something in them that play no part, and fields of messages
        self.cut_prompts_in_answers = cut_prompts_in_answers  # pairs whose answers began with their prompt
        self.undecided = undecided  # comparisons of ranked answers that make no pair: equal scores, or none
        self.answers_left = dict(answers_left or {})  # answers that are in no group, by reason
        self.notes = list(notes)  # what is to be told of them as groups

    def write(self, folder: Path) -> dict[str, Any]:
        """Into files of a folder, and meta data."""
        (folder / BLOB).write_bytes(self.blob)
        np.save(folder / ENDS, self.ends)
        return {name: value for name, value in vars(self).items() if name not in ("blob", "ends", "key")}

    @property
    def all(self) -> "Some":
        """Every one."""
        return Some(self, range(len(self)))

    def repetitions(self) -> Repetitions:
        """What a pass over them counts."""
        key = cache.key_of("repetitions", self.key) if self.key else ""
        found = cache.kept("repetitions", key, lambda _: asdict(repetitions(self)))
        return Repetitions(**found[1]) if found else repetitions(self)

    def split(self, fraction: float, seed: int) -> tuple["Some", "Some"]:
        """`split_by_prompt` of them."""

        def write(folder: Path) -> dict[str, Any]:
            np.save(folder / HELD, np.array(split_by_prompt(self, fraction, seed)[1].numbers, np.int64))
            return {}

        key = cache.key_of("split", self.key, fraction, seed) if self.key else ""
        if not (found := cache.kept("split", key, write)):
            return split_by_prompt(self, fraction, seed)
        held = np.load(found[0] / HELD, allow_pickle=False)
        train = np.setdiff1d(np.arange(len(self)), held, assume_unique=True)
        return Some(self, train.tolist()), Some(self, held.tolist())


def load_pairs(
    source: str, settings: DataSettings, *, split: str = "", revision: str = "", wanted: Wanted = PAIRS
) -> Pairs:
    """The pairs of a file, folder or hub dataset, in its order; `split` and `revision` default to the settings', and
    `wanted` says what is read of a row beyond a chosen and a rejected answer.

    Reads at most `settings.limit` pairs when that is not 0. Raises `DataError` naming the row that is no pair, unless
    `settings.bad_rows` is "skip": then they are counted by reason. Raises `HubError` for what the hub cannot give.
    What was read before, by content, is mapped from the user's cache.
    """
    split, revision = split or settings.split, revision or settings.revision
    key = _key(source, settings, split, wanted)

    def read() -> Pairs:
        return _read(source, settings, split, revision, wanted)

    found = cache.kept("pairs", key, lambda folder: read().write(folder))
    pairs = _mapped(*found) if found else read()
    pairs.key = key
    if pairs.problem and settings.bad_rows == "error":
        raise DataError(f"{pairs.problem}{REMEDY}")
    return pairs


def _key(source: str, settings: DataSettings, split: str, wanted: Wanted) -> str:
    """What the pairs of local files are kept by; empty where there are none, or one cannot be read."""
    try:
        content = [(name, digest_of(file)) for name, file in local_files(source, split)]
    except OSError:
        return ""
    reading = [settings.columns, settings.template == "none", settings.system, settings.ranking, settings.limit]
    more = [] if wanted == PAIRS else [asdict(wanted)]
    return cache.key_of("pairs", content, split, *reading, *more) if content else ""


def _mapped(folder: Path, meta: dict[str, Any]) -> Pairs:
    ends = np.load(folder / ENDS, allow_pickle=False)
    with (folder / BLOB).open("rb") as file:
        blob = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return Pairs(Packed(memoryview(blob), ends), **meta)


@rarely_collected()
def _read(source: str, settings: DataSettings, split: str, revision: str, wanted: Wanted) -> Pairs:
    rows = read_rows(source, split=split, revision=revision)
    first = list(itertools.islice(rows, DETECT_ROWS))
    name = source.rstrip("/").rpartition("/")[2] or source
    match = detect(first, settings.columns, name, settings.ranking, wanted)
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
        self.several = False  # whether one has more than one rejected answer

    def take(self, row: Row) -> None:
        self.read += 1
        for column in row.values.keys() - self.filled.keys():
            if kind_of(row.values[column]) not in ("null", "empty") and row.values[column] != "":
                self.filled[column] = None
        try:
            made = self.match.groups(row, text=self.settings.template == "none", system=self.settings.system)
            tools = self.match.tools(row)
            if self.match.is_unpaired:
                self._label(row, made[0][0], tools)
            else:
                for (prompt, chosen, rejected, *others), rewards in made:
                    self.several = self.several or bool(others)
                    sampled = self.match.wanted.needs == "samples"
                    self.pairs.add(Pair(prompt, chosen, rejected, row.where, tools, tuple(others), rewards, sampled))
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

    def _label(self, row: Row, turns: Turns, tools: list[dict[str, Any]] | None) -> None:
        """A good or a bad answer: alone where labels are wanted, else joined to one of the other label."""
        good = self.match.is_good(row)
        if self.match.wanted.needs == "labels":
            prompt, answer, *_ = turns
            self.pairs.add(Pair(prompt, answer if good else "", "" if good else answer, row.where, tools))
            return
        key = prompt_key(turns[0]) + (json.dumps(tools, sort_keys=True) if tools else "")
        if pair := self.pairing.add(key, turns, good, row.where):
            prompt, chosen, rejected, *_ = pair[0]
            self.pairs.add(Pair(prompt, chosen, rejected, pair[1], tools))

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
            undecided=match.counts["undecided"], answers_left=match.answers_left, notes=self._notes(),
        )  # fmt: skip

    def _notes(self) -> list[str]:
        negatives = self.match.wanted.negatives
        if negatives == 1 or self.several:
            return []
        return [f"loss.negatives is {negatives}, and no row has more than one rejected answer: pairs are trained on; "
                "give the rows a list of rejected answers, or answers with rewards"]


def held_out_source(settings: DataSettings) -> tuple[str, str]:
    """The source and split of the held-out pairs; both empty where a fraction of the data is held out.

    They are `eval_source`, or the validation split of a folder that has one beside the split to train on.
    """
    if settings.eval_source:
        return settings.eval_source, settings.eval_split or settings.split
    if settings.split in TRAIN and (split := validation_split_of(settings.source)):
        return settings.source, split
    return "", ""


def split_by_prompt(pairs: "Pairs", fraction: float, seed: int) -> tuple["Some", "Some"]:
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


class Some(OnDemand[Pair]):
    """Those of some pairs that have these `numbers`."""

    def __init__(self, pairs: "Pairs", numbers: Sequence[int]) -> None:
        self.pairs, self.numbers = pairs, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def item(self, place: int) -> Pair:
        return self.pairs[self.numbers[place]]

    def first(self, most: int) -> "Some":
        """The first so many, all for 0."""
        return Some(self.pairs, self.numbers[: most or None])
