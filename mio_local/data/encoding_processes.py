"""Many pairs to tokens in processes, one for each core: what Python does for a pair keeps one core busy."""

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mio_local.data.examples import Arrays
from mio_local.data.stored.collected import Collected
from mio_local.data.stored.encoded import Encoded, Left, check
from mio_local.data.stored.packed import Packed
from mio_local.data.template import Chat
from mio_local.process import claim, cores, without

MANY = 50_000  # pairs from which on the seconds that a process takes to start are worth it
BLOCK = 4_000  # pairs that a process is given at once
MOST = 8  # processes


class Block(NamedTuple):
    """What became of a block of pairs, numbered from its first."""

    arrays: Arrays
    left: list[Left]
    lost: dict[str, tuple[int, str]]
    misled: bool


def is_worth_it(pairs: Packed, chat: Chat) -> bool:
    """Whether there are many pairs, more than one core, and a tokenizer that another process can be given."""
    known = chat.tokenizer.is_fast and type(chat.tokenizer).__module__.startswith("transformers.")
    return len(pairs) >= MANY and known and cores() > 1


def encode_in_processes(
    pairs: Packed, chat: Chat, max_tokens: int, long_prompt: Literal["error", "skip", "cut"],
    bad_rows: Literal["error", "skip"], progress: Callable[[int, int], None] | None = None, file: Path | None = None,
) -> Encoded:  # fmt: skip
    """As `Chat.encode_all`, to the same tokens."""
    left: list[Left] = []
    lost: dict[str, tuple[int, str]] = {}
    done = 0
    try:
        with closing(Collected(chat.end_ids, file)) as made, _pool(chat) as pool:
            for block in _in_order(pool, pairs, max_tokens, long_prompt == "cut"):
                if block.misled:
                    chat.take_no_shortcuts()
                    break
                made.extend(block.arrays, done)
                here = [each._replace(number=each.number + done) for each in block.left]
                check(here, long_prompt, bad_rows)
                left += here
                for kind, (count, first) in block.lost.items():
                    known, place = lost.get(kind, (0, first))
                    lost[kind] = known + count, place
                done = min(done + BLOCK, len(pairs))
                if progress:
                    progress(done, len(pairs))
            else:
                return Encoded(made.examples(lambda number: pairs[number].where), left, lost)
    except BrokenProcessPool:
        pass  # the system has ended one, of memory say
    return chat.encode_all(pairs, max_tokens, long_prompt, bad_rows, progress, file)


def _in_order(pool: ProcessPoolExecutor, pairs: Packed, max_tokens: int, cut: bool) -> Iterator[Block]:
    """Blocks as they are made, in the order of the pairs; a few are under way at once."""
    asked = (
        pool.submit(_encode, *pairs.part(first, first + BLOCK), max_tokens, cut)
        for first in range(0, len(pairs), BLOCK)
    )
    waiting: deque[Future[Block]] = deque(itertools.islice(asked, 2 * cores()))
    try:
        while waiting:
            made = waiting.popleft().result()
            waiting.extend(itertools.islice(asked, 1))
            yield made
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pool(chat: Chat) -> ProcessPoolExecutor:
    """Spawned: a forked process would inherit the locks of threads that it has not."""
    given = (chat.tokenizer, chat.template_name, chat.now), {"settings": chat.settings, "rows": chat.rows}
    return ProcessPoolExecutor(min(cores(), MOST), multiprocessing.get_context("spawn"), _begin, given)


_chats: list[Chat] = []  # of a process of the pool: the one that it encodes with


def _begin(arguments: Iterable[Any], named: dict[str, Any]) -> None:
    """In a new process of the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the process that waits for this one
    threading.Thread(target=_end_with, args=[multiprocessing.parent_process()], daemon=True).start()
    os.environ["RAYON_NUM_THREADS"] = "1"  # the tokenizers library's: the cores are shared by processes
    claim()
    without("torch")
    _chats.append(Chat(*arguments, **named))


def _end_with(parent: Any) -> None:
    """Leave no process behind where the one that wants the tokens is killed."""
    parent.join()
    os._exit(1)


def _encode(blob: bytes, ends: Any, max_tokens: int, cut: bool) -> Block:
    (chat,) = _chats
    encoded = chat.encode_all(Packed(blob, ends), max_tokens, "cut" if cut else "skip", "skip")
    return Block(encoded.examples.arrays, list(encoded.left), encoded.lost, chat.misled)
