"""What a pass over pairs counts: prompts, repetitions, pairs that another one turns round."""

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mio_local.data.stored.preference_pair import Pair, prompt_key
from mio_local.process import rarely_collected

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
    answers: Sequence[int] = (2, 2, 2)  # of a prompt: the fewest, the median, the most
    rewards: Sequence[float] | None = None  # the mean, the least, the greatest
    labels: Sequence[int] | None = None  # answers that stand alone: good ones, bad ones


@rarely_collected()
def repetitions(pairs: Sequence[Pair]) -> Repetitions:
    """By 64-bit hashes, of which two of a million pairs are the same by chance once in ten million times."""
    prompts, whole, of, forward, backward = array("q"), array("q"), array("q"), array("q"), array("q")
    counts, rewards = array("q"), array("d")
    identical = joined = marked = good = bad = 0
    for number, pair in enumerate(pairs):
        prompt, chosen, *rejected = map(prompt_key, (pair.prompt, *pair.answers))
        prompts.append(hash(prompt))
        whole.append(hash((prompt, chosen, *rejected)))
        for other in [] if pair.sampled else rejected:
            of.append(number)
            forward.append(hash((prompt, chosen, other)))
            backward.append(hash((prompt, other, chosen)))
            identical += chosen == other
        counts.append(sum(map(bool, pair.answers)))
        rewards.extend(pair.rewards)
        good += not pair.rejected
        bad += not pair.chosen
        joined += _runs_on(pair)
        marked += is_marked(pair)
    ahead, behind = np.asarray(forward), np.asarray(backward)
    turned = np.isin(behind, np.unique(ahead)) & (ahead != behind)
    sizes, given = np.asarray(counts), np.asarray(rewards)
    return Repetitions(
        len(np.unique(np.asarray(prompts))), len(whole) - len(np.unique(np.asarray(whole))), identical,
        len(np.unique(np.asarray(of)[turned])), joined, marked,
        (int(sizes.min()), int(np.median(sizes)), int(sizes.max())) if len(sizes) else (2, 2, 2),
        (float(given.mean()), float(given.min()), float(given.max())) if len(given) else None,
        (good, bad) if good or bad else None,
    )  # fmt: skip


def is_marked(pair: Pair) -> bool:
    """Whether a prompt holds the marks that a chat template writes: it would be framed twice."""
    texts = [pair.prompt] if isinstance(pair.prompt, str) else [message["content"] for message in pair.prompt]
    return any(MARKS.search(text) for text in texts)


def _runs_on(pair: Pair) -> bool:
    answer = pair.chosen or pair.rejected
    if not isinstance(pair.prompt, str) or not isinstance(answer, str):
        return False
    return not pair.prompt[-1].isspace() and not answer[0].isspace()
