"""What a pass over pairs counts: prompts, repetitions, pairs that another one turns round."""

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mio_local.data.stored.preference_pair import Pair, prompt_key

MARKS = re.compile(
    r"<\|(?:im_start|im_end|start_header_id|end_header_id|eot_id|begin_of_text|user|assistant|system|end|start|message)\|>"
    r"|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<\|turn>|<turn\|>|\A\s*<s>|<｜(?:User|Assistant)｜>"
    r"|<\|(?:START|END)_OF_TURN_TOKEN\|>"
)


@dataclass(frozen=True)
class Repetitions:
    """Counts over pairs. `contradictory`: those that another pair of the same prompt turns round. `joined`: text pairs
    whose prompt runs into the answer without a space. `marked`: prompts with a chat template's own marks in them."""

    prompts: int
    duplicates: int
    identical: int
    contradictory: int
    joined: int
    marked: int


def repetitions(pairs: Sequence[Pair]) -> Repetitions:
    """By 64-bit hashes, of which two of a million pairs are the same by chance once in ten million times."""
    prompts, forward, backward = array("q"), array("q"), array("q")
    identical = joined = marked = 0
    for pair in pairs:
        prompt, chosen, rejected = prompt_key(pair.prompt), prompt_key(pair.chosen), prompt_key(pair.rejected)
        prompts.append(hash(prompt))
        forward.append(hash((prompt, chosen, rejected)))
        backward.append(hash((prompt, rejected, chosen)))
        identical += chosen == rejected
        joined += _runs_on(pair)
        marked += is_marked(pair)
    ahead, behind = np.asarray(forward), np.asarray(backward)
    distinct = np.unique(ahead)
    turned = np.isin(behind, distinct) & (ahead != behind)
    return Repetitions(
        len(np.unique(np.asarray(prompts))), len(ahead) - len(distinct), identical, int(turned.sum()), joined, marked
    )


def is_marked(pair: Pair) -> bool:
    """Whether a prompt holds the marks that a chat template writes: it would be framed twice."""
    texts = [pair.prompt] if isinstance(pair.prompt, str) else [message["content"] for message in pair.prompt]
    return any(MARKS.search(text) for text in texts)


def _runs_on(pair: Pair) -> bool:
    if not isinstance(pair.prompt, str) or not isinstance(pair.chosen, str):
        return False
    return not pair.prompt[-1].isspace() and not pair.chosen[0].isspace()
