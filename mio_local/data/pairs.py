"""A preference pair, and the pairs of a dataset."""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mio_local.data.detect import ColumnsError, detect
from mio_local.data.messages import BadRow, Message
from mio_local.data.rows import read_rows, validation_split_of
from mio_local.errors import DataError
from mio_local.recipe import DataSettings

DETECT_ROWS = 200  # a column may be null, or a row faulty, in the first rows
TRAIN = ("train", "training")
REMEDY = "; repair it, or --set data.bad_rows=skip"


@dataclass(frozen=True)
class Pair:
    """One prompt with a chosen and a rejected answer.

    `prompt` is a message list ending in a user turn, or the text itself. The answers are the text of one assistant turn
    (a conversation), or the text that follows the prompt (a text pair). `where` names the source: `train.jsonl line 7`.
    """

    prompt: list[Message] | str
    chosen: str
    rejected: str
    where: str


class Pairs(list[Pair]):
    """The pairs of a dataset, with its layout's name, the column of each role, what was skipped, all columns found."""

    def __init__(
        self,
        pairs: Iterable[Pair],
        layout: str,
        columns: dict[str, str],
        rows: int,
        skipped: dict[str, int],
        problem: str = "",
        found: Sequence[str] = (),
    ) -> None:
        super().__init__(pairs)
        self.layout = layout
        self.columns = columns
        self.rows = rows  # rows read, with the skipped ones
        self.skipped = skipped  # rows by reason
        self.problem = problem  # what is wrong with the first skipped row
        self.found = found  # the columns that the first rows have


def load_pairs(source: str, settings: DataSettings, *, split: str = "", revision: str = "") -> Pairs:
    """The pairs of a file, folder or hub dataset, in its order; `split` and `revision` default to the settings'.

    Reads at most `settings.limit` pairs when that is not 0. Raises `DataError` naming the row that is no pair, unless
    `settings.bad_rows` is "skip": then they are counted by reason. Raises `HubError` for what the hub cannot give.
    """
    rows = read_rows(source, split=split or settings.split, revision=revision or settings.revision)
    first = list(itertools.islice(rows, DETECT_ROWS))
    name = source.rstrip("/").rpartition("/")[2] or source
    match = detect(first, settings.columns, name)
    pairs: list[Pair] = []
    skipped: Counter[str] = Counter()
    problem = ""
    read = 0
    for row in itertools.chain(first, rows):
        read += 1
        try:
            prompt, chosen, rejected = match.read(row, text=settings.template == "none", system=settings.system)
        except BadRow as error:
            if settings.bad_rows == "error":
                raise DataError(f"{error}{REMEDY}") from None
            skipped[error.reason] += 1
            problem = problem or str(error)
            continue
        pairs.append(Pair(prompt, chosen, rejected, row.where))
        if len(pairs) == settings.limit:
            break
    if not pairs:
        raise ColumnsError(f"{name}: none of its {read} rows is a pair; the first: {problem}", match.found)
    return Pairs(pairs, match.layout.name, dict(match.columns), read, dict(skipped), problem, match.found)


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
    """A text that is the same for the same prompt."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True, ensure_ascii=False)


def split_by_prompt(pairs: Sequence[Pair], fraction: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """(train, held out): all pairs of one prompt on one side, and each side in the order of `pairs`.

    Holds out the given fraction of the prompts, rounded, and at least one where there are two or more; which ones
    depends on the seed and on the set of prompts, not on the order of the rows.
    """
    keys = [prompt_key(pair.prompt) for pair in pairs]
    prompts = sorted(set(keys), key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
    count = round(fraction * len(prompts))
    if fraction > 0 and len(prompts) > 1:
        count = min(max(count, 1), len(prompts) - 1)
    held = set(prompts[:count])
    train = [pair for pair, key in zip(pairs, keys, strict=True) if key not in held]
    return train, [pair for pair, key in zip(pairs, keys, strict=True) if key in held]
