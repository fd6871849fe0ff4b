"""Pairs to tokens once: what was tokenised before, by content, is mapped from the user's cache."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mio_local.data.encoding_processes import encode_in_processes, is_worth_it
from mio_local.data.examples import Examples
from mio_local.data.pairs import Pairs
from mio_local.data.stored import cache
from mio_local.data.stored.collected import starts_of
from mio_local.data.stored.encoded import Encoded, Left
from mio_local.data.template import Chat
from mio_local.recipe import DataSettings

Progress = Callable[[int, int], None]
TOKENS, TABLES = "tokens.bin", "tables.npz"


def encode(
    pairs: Pairs, chat: Chat, settings: DataSettings, *, skipping: bool = False, progress: Progress | None = None
) -> Encoded:
    """All of `pairs` as tokens, as a training with these settings would have them; `skipping` leaves out what would
    stop that. Raises DataError for what is not left out."""
    long_prompt = "skip" if skipping and settings.long_prompt == "error" else settings.long_prompt
    bad_rows = "skip" if skipping else settings.bad_rows
    cut = settings.long_prompt == "cut"
    known = pairs.key and chat.fingerprint
    key = cache.key_of("tokens", pairs.key, chat.fingerprint, settings.max_tokens, cut) if known else ""

    def made(file: Path | None = None) -> Encoded:
        if is_worth_it(pairs, chat):
            return encode_in_processes(pairs, chat, settings.max_tokens, long_prompt, bad_rows, progress, file)
        return chat.encode_all(pairs, settings.max_tokens, long_prompt, bad_rows, progress, file)

    found = cache.kept("tokens", key, lambda folder: _write(made(folder / TOKENS), folder))
    encoded = _mapped(*found, pairs) if found else made()
    encoded.check(long_prompt, bad_rows)
    return encoded


def _write(encoded: Encoded, folder: Path) -> Mapping[str, Any]:
    examples = encoded.examples
    rewards = np.zeros(0) if examples.rewards is None else examples.rewards
    np.savez(
        folder / TABLES, lengths=examples.lengths, flags=examples.flags, numbers=examples.numbers, rewards=rewards
    )  # fmt: skip
    return {"left": encoded.left, "lost": encoded.lost, "scored": examples.scored}


def _mapped(folder: Path, meta: dict[str, Any], pairs: Pairs) -> Encoded:
    with np.load(folder / TABLES, allow_pickle=False) as tables:
        lengths, flags, numbers = tables["lengths"], tables["flags"], tables["numbers"]
        rewards = tables["rewards"] if len(tables["rewards"]) else None
    tokens = np.memmap(folder / TOKENS, np.int32, "r") if len(lengths) else np.zeros(0, np.int32)
    scored = {
        int(number): tuple(tuple((start, stop) for start, stop in spans) for spans in each)
        for number, each in meta["scored"].items()
    }
    examples = Examples(
        tokens, starts_of(lengths), lengths, flags, numbers, lambda number: pairs[number].where,
        scored, folder.name, rewards,
    )  # fmt: skip
    lost = {kind: (int(count), str(first)) for kind, (count, first) in meta["lost"].items()}
    return Encoded(examples, [Left(*each) for each in meta["left"]], lost)
