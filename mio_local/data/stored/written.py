"""Examples as the text that their digest is taken of."""

from collections.abc import Iterator

import numpy as np

from mio_local.data.examples import PARTS, Examples

BLOCK = 4096  # examples that are written at once, where there are as many
AFTER = (b", ", b"], [", b"])([")  # what follows a token: within a part, at its end, at the example's end


def written(examples: Examples) -> Iterator[bytes]:
    """The text of each, in blocks: `repr((prompt, chosen, rejected))`, followed by `repr(scored)` where not just the
    tokens of the answers are scored, by `repr(others)` where there are any, and by `repr(rewards)` likewise."""
    pairs = examples.rewards is None and examples.lengths.shape[1] == PARTS
    if len(examples) < BLOCK or examples.scored or not pairs or not examples.lengths.all():
        for each in examples:
            ids = repr((each.prompt, each.chosen, each.rejected))
            yield (ids + "".join(repr(more) for more in (each.scored, each.others, each.rewards) if more)).encode()
        return
    table = _table(int(examples.tokens.max(initial=0)) + 1)
    size = len(table) // len(AFTER)
    for start in range(0, len(examples), BLOCK):
        starts, lengths = examples.starts[start : start + BLOCK], examples.lengths[start : start + BLOCK]
        totals = lengths.sum(1)
        ends = np.cumsum(totals)
        places = np.arange(ends[-1]) + np.repeat(starts - (ends - totals), totals)
        code = examples.tokens[places].astype(np.int64)
        code[np.cumsum(lengths.reshape(-1)) - 1] += size
        code[ends - 1] += size
        yield b"([" + table[code].tobytes().replace(b"\0", b"")[: -len(AFTER[2])] + b"])"


def _table(size: int) -> np.ndarray:
    """What each of the tokens 0 to size - 1 is written as, three times: with what follows it."""
    return np.array([b"%d%s" % (token, after) for after in AFTER for token in range(size)])
