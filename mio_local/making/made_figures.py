"""What a making came to: figures, and the same in words."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mio_local.data.messages import Answer, shown_text
from mio_local.making.make import Made, Making
from mio_local.making.pass_at_k import pass_rate

BINS, BAR = 10, 30  # of a histogram, and characters of its longest bar


@dataclass(frozen=True)
class Figures:
    """`passing` is pass@k by k, empty where no reward is right or wrong; `both` the prompts with a right and a wrong
    answer, or where there is none, with rewards that differ. `bins` count the rewards from a value on. Tokens are means
    over pairs."""

    prompts: int
    answers: int
    pairs: int
    both: int
    passing: dict[int, float]
    bins: list[tuple[str, int]]
    chosen_tokens: float
    rejected_tokens: float


def figures(making: Making, threshold: float | None, answers: int, lengths: Sequence[tuple[int, int]]) -> Figures:
    """Of a making by a judge of this threshold; `lengths` are the tokens of the chosen and the rejected answers."""
    rewards = [each.rewards for each in making.made]
    given = [reward for each in rewards for reward in each if reward is not None]
    passing: dict[int, float] = {}
    if threshold is not None:
        rates = {k: pass_rate(rewards, threshold, k) for k in sorted({1, answers})}
        passing = {k: rate for k, rate in rates.items() if rate is not None}
    chosen, rejected = zip(*lengths, strict=True) if lengths else ((), ())
    return Figures(
        len(making.made), sum(map(len, rewards)), making.pairs,
        sum(_differ(each, threshold) for each in rewards), passing, _bins(given),
        sum(chosen) / max(1, len(chosen)), sum(rejected) / max(1, len(rejected)),
    )  # fmt: skip


def _differ(rewards: Sequence[float | None], threshold: float | None) -> bool:
    known = [reward for reward in rewards if reward is not None]
    return len({reward if threshold is None else reward >= threshold for reward in known}) > 1


def _bins(rewards: Sequence[float]) -> list[tuple[str, int]]:
    counts = Counter(rewards)
    if len(counts) <= BINS:
        return [(f"{value:g}", counts[value]) for value in sorted(counts)]
    low, high = min(rewards), max(rewards)
    width = (high - low) / BINS
    found = Counter(min(BINS - 1, math.floor((reward - low) / width)) for reward in rewards)
    return [(f"{low + number * width:.3g}", found[number]) for number in range(BINS)]


def words(found: Figures, making: Making, judge: str) -> list[str]:
    """The figures in lines."""
    lines = [f"{found.pairs:,} pairs of {found.prompts:,} prompts, {found.answers:,} answers, judged by {judge}"]
    if found.passing:
        lines.append("  " + ", ".join(f"pass@{k} {rate:.1%}" for k, rate in found.passing.items()))
    what = "right and wrong answers" if found.passing else "answers of different rewards"
    lines.append(f"  {found.both:,} prompts have {what}")
    if found.pairs:
        lines.append(f"  tokens, mean: chosen {found.chosen_tokens:.0f}, rejected {found.rejected_tokens:.0f}")
    left = making.left
    for name, counts in (
        ("answers in no pair", left.answers), ("pairs left out", left.pairs), ("prompts without a pair", left.prompts),
        ("answers without a reward", making.unjudged), ("comparisons that decided nothing", making.dropped),
    ):  # fmt: skip
        if counts:
            lines.append(f"  {name}: " + ", ".join(f"{count:,} {why}" for why, count in counts.most_common()))
    return lines


def histogram(found: Figures, bar: str = "█") -> list[str]:
    """The rewards as a picture in text."""
    most = max((count for _, count in found.bins), default=0)
    wide = max((len(name) for name, _ in found.bins), default=0)
    return [
        f"  {name:>{wide}}  {count:>{len(f'{most:,}')},}  {bar * math.ceil(BAR * count / most)}".rstrip()
        for name, count in found.bins
    ]


def examples(making: Making, most: int) -> list[Made]:
    """Prompts with pairs, spread over all of them."""
    some = [each for each in making.made if each.pairs]
    step = max(1, len(some) // most) if most else 1
    return some[::step][:most]


def markdown(lines: Sequence[str], pictured: Sequence[str], some: Sequence[Made]) -> str:
    """The report as a document: figures, the rewards as a picture, and examples, indented so that nothing of them is
    read as markup."""
    parts = [f"# {lines[0]}\n", *(f"-{line[1:]}" for line in lines[1:]), "\n## Rewards\n"]
    parts += [*(f"    {line}" for line in pictured), "\n## Examples"]
    for made in some:
        pair = made.pairs[0]
        parts.append(f"\n### {made.answered.asked.where}\n")
        for name, text in (("prompt", _prompt(made)), ("chosen", pair.chosen), ("rejected", pair.rejected)):
            parts += [f"{name}:\n", *(f"    {line}" for line in shown_text(text).splitlines()), ""]
    return "\n".join(parts) + "\n"


def _prompt(made: Made) -> Answer:
    return made.answered.asked.prompt
