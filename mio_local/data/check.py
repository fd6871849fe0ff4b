"""What can be said of preference data before any training: counts, lengths, what looks wrong, what would stop it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mio_local.data.encoding import Progress, encode
from mio_local.data.examples import CUT_CHOSEN, CUT_PROMPT, CUT_REJECTED, END_INSIDE, longest
from mio_local.data.pairs import REMEDY, Pair, Pairs, held_out_source, load_pairs, prompt_key
from mio_local.data.reading.wanted import PAIRS, Wanted
from mio_local.data.stored.encoded import Encoded
from mio_local.data.template import Chat
from mio_local.data.templating.coverage import told
from mio_local.recipe import DataSettings

TRUNCATED_SHARE = 0.05
LENGTH_BIAS_SHARE = 0.65
DUPLICATE_SHARE = 0.01


@dataclass(frozen=True)
class Lengths:
    """Token counts of one part of the examples: the smallest, the median, the 95th percentile, the largest."""

    smallest: int
    median: int
    p95: int
    largest: int


@dataclass(frozen=True)
class Summary:
    """Statistics of a dataset's pairs; every share is of the pairs that were encoded.

    `longer_chosen` counts pairs whose chosen answer has more tokens than the rejected one, `extra_tokens` is the mean
    of that difference. `contradictory` counts pairs that another pair of the same prompt turns round. Lengths are None
    where nothing was encoded. `longest` is the tokens of the longest prompt with one of its answers,
    `longest_pair` of the longest with both.
    """

    layout: str
    rows: int
    pairs: int
    prompts: int
    held_out_pairs: int
    held_out_prompts: int
    skipped: dict[str, int]
    duplicates: int
    identical: int
    contradictory: int
    encoded: int
    prompt: Lengths | None
    chosen: Lengths | None
    rejected: Lengths | None
    longest: int
    longest_pair: int
    truncated: int
    cut_prompts: int
    longer_chosen: int
    longer_rejected: int
    extra_tokens: float
    special_in_answers: int
    joined_words: int
    marked_prompts: int = 0  # prompts with a chat template's own marks in them
    tokens_a_pair: float = 0.0  # the mean of the tokens that a pair is trained on, its prompt counted for each answer
    group_sizes: Sequence[int] = (2, 2, 2)  # answers of a group: the fewest, the median, the most
    rewards: Sequence[float] | None = None  # of answers: the mean, the least, the greatest
    labels: Sequence[int] | None = None  # answers that stand alone: good ones, bad ones

    @property
    def truncated_share(self) -> float:
        return self.truncated / max(1, self.encoded)

    @property
    def longer_share(self) -> float:
        """Share of the pairs of unequal length in which the chosen answer is the longer one."""
        return self.longer_chosen / max(1, self.longer_chosen + self.longer_rejected)


def summarise(pairs: Pairs, encoded: Encoded, held_out: Sequence[Pair], chat: Chat) -> Summary:
    """Statistics over `pairs`, over what became of them, and over the pairs that are held out."""
    found, examples = pairs.repetitions(), encoded.examples
    prompt, chosen, rejected, *_ = examples.lengths.T
    both = (chosen > 0) & (rejected > 0)
    differences = (chosen - rejected)[both]
    return Summary(
        layout=pairs.layout,
        rows=pairs.rows,
        pairs=len(pairs),
        prompts=found.prompts,
        held_out_pairs=len(held_out),
        held_out_prompts=len({prompt_key(pair.prompt) for pair in held_out}),
        skipped=dict(Counter(pairs.skipped) + Counter(encoded.skipped)),
        duplicates=found.duplicates,
        identical=found.identical,
        contradictory=found.contradictory,
        encoded=len(examples),
        prompt=lengths(prompt),
        chosen=lengths(chosen[chosen > 0]),
        rejected=lengths(rejected[rejected > 0]),
        longest=longest(examples)[0],
        longest_pair=longest(examples)[1],
        truncated=examples.count(CUT_CHOSEN | CUT_REJECTED),
        cut_prompts=examples.count(CUT_PROMPT),
        longer_chosen=int((differences > 0).sum()),
        longer_rejected=int((differences < 0).sum()),
        extra_tokens=float(differences.mean()) if both.any() else 0.0,
        special_in_answers=examples.count(END_INSIDE),
        marked_prompts=found.marked if chat.mode == "chat" else 0,
        joined_words=found.joined if chat.mode == "text" else 0,
        tokens_a_pair=float(tokens_of(examples.lengths).mean()) if len(examples) else 0.0,
        group_sizes=found.answers,
        rewards=found.rewards,
        labels=found.labels,
    )


def tokens_of(lengths: np.ndarray) -> np.ndarray:
    """Tokens of prompts and answers of such lengths (n, 1 + A), a prompt counted once for each of its answers: (n,)."""
    return lengths[:, 0] * (lengths[:, 1:] > 0).sum(1) + lengths[:, 1:].sum(1)


def lengths(counts: np.ndarray) -> Lengths | None:
    """Quantiles of token counts; each is one of the counts."""
    if not len(counts):
        return None
    ordered = np.sort(counts).tolist()
    last = len(ordered) - 1
    return Lengths(ordered[0], ordered[round(0.5 * last)], ordered[round(0.95 * last)], ordered[-1])


def warnings(summary: Summary, max_tokens: int) -> list[str]:
    """What looks wrong, each in one line that says what to do."""
    total = max(1, summary.pairs)
    found: list[str] = []
    if summary.skipped:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in summary.skipped.items())
        found.append(f"{sum(summary.skipped.values()):,} of {summary.rows:,} rows are left out: {reasons}")
    if summary.truncated_share > TRUNCATED_SHARE:
        found.append(f"{summary.truncated_share:.0%} of the pairs have an answer cut at {max_tokens:,} tokens, "
                     "so its end is never learnt; raise --max-tokens")
    if summary.identical:
        found.append(f"{summary.identical:,} pairs have one text as chosen and rejected: nothing to learn from them")
    if summary.contradictory:
        found.append(f"{summary.contradictory:,} pairs are turned round by another pair of the same prompt; "
                     "keep one of each")
    if summary.duplicates > DUPLICATE_SHARE * total:
        found.append(f"{summary.duplicates:,} pairs are repetitions of another pair")
    longer = summary.longer_share
    if summary.longer_chosen + summary.longer_rejected and not 1 - LENGTH_BIAS_SHARE <= longer <= LENGTH_BIAS_SHARE:
        side, share = ("chosen", longer) if longer > 0.5 else ("rejected", 1 - longer)
        found.append(f"the {side} answer is the longer one in {share:.0%} of the pairs of unequal length: "
                     "length alone may be learnt; --reduction mean is less moved by it")
    if summary.special_in_answers:
        found.append(f"{summary.special_in_answers:,} pairs have an end token inside an answer; "
                     "take such markers out of the data")
    if summary.marked_prompts:
        found.append(f"{summary.marked_prompts:,} prompts hold a chat template's own marks, and a template is put "
                     "around them once more; pass --template none where they are written out whole")
    if summary.joined_words > 0.5 * total:
        found.append("prompts run into their answers without a space, and no chat template is used; "
                     "end the prompts with a newline, or pass --template FILE.jinja")
    if summary.prompts == 1:
        found.append("all pairs have one prompt, so none can be held out; give held-out pairs with --eval-data")
    return found


@dataclass(frozen=True)
class Findings:
    """The statistics, one line for each thing that looks wrong, and the line that a training would stop with, or ""."""

    summary: Summary
    warnings: list[str]
    stops: str


def examine(
    pairs: Pairs, chat: Chat, settings: DataSettings, seed: int, progress: Progress | None = None,
    wanted: Wanted = PAIRS,
) -> Findings:  # fmt: skip
    """Tokenise all `pairs` as a training with these settings would, and tell what there is to tell.

    `pairs` are loaded with their bad rows skipped, as `wanted`; `seed` chooses the held out.
    """
    encoded = encode(pairs, chat, settings, skipping=True, progress=progress)
    source, split = held_out_source(settings)
    skipping = settings.model_copy(update={"bad_rows": "skip"})
    if source:
        held_out: Sequence[Pair] = load_pairs(source, skipping, split=split, wanted=wanted)
    else:
        held_out = pairs.split(settings.eval_fraction, seed)[1]
    summary = summarise(pairs, encoded, held_out, chat)
    problems = [pairs.problem] if settings.bad_rows == "error" else []
    if settings.long_prompt == "error" or settings.bad_rows == "error":
        problems.append(encoded.problem)
    stops = stop_line(next(filter(None, problems), ""), sum(summary.skipped.values()))
    return Findings(summary, [*pairs.notes, *told(encoded.lost), *warnings(summary, settings.max_tokens)], stops)


def stop_line(problem: str, rows: int) -> str:
    """What would stop the training with its remedy and the number of rows with such a fault; "" for no problem."""
    if not problem:
        return ""
    more = f" ({rows:,} such rows)" if rows > 1 else ""
    return problem + more if "--set" in problem else f"{problem}{REMEDY}{more}"
