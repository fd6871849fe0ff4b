"""How good an adapter is on what it was not trained on, each figure with an interval: pairs, drift, questions, text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mio_local.backends import Model
from mio_local.data.examples import Example
from mio_local.data.loglikelihood import Row
from mio_local.data.stepping.passes import in_batches
from mio_local.data.task_questions import Question, Rule
from mio_local.data.template import Chat
from mio_local.objectives.intervals import Interval, means, ratios, share
from mio_local.objectives.losses import PairLogps
from mio_local.objectives.metrics import join, pair_values
from mio_local.progress import Report
from mio_local.recipe import Recipe
from mio_local.reports.evidence import FORGETTING, KL
from mio_local.runs.events import Event
from mio_local.training.job import as_pairs
from mio_local.training.measured.task_accuracy import greedy_answers
from mio_local.training.measured.text_perplexity import Perplexity, negative_logps
from mio_local.training.optimizations import settle

ACCURACY = "rewards/accuracies"
PREFERENCE = (
    ACCURACY, "rewards/margins", "delta/chosen", "delta/rejected", "mi/js", "mi/dv", "loss",
)  # fmt: skip
SAMPLE_TOKENS = 64  # of an answer drawn for the divergence, at most
TOGETHER = 32  # answers drawn or scored together


@dataclass(frozen=True)
class Result:
    """One figure: `of` the policy, the base, or their difference; `interval` or `stderr` says how sure it is.

    `count` is how many pairs, answers or questions it is of. `paired`: a difference's error comes from the two scores
    of each document, and not from two errors taken as independent. `asked` is what was evaluated and how: see events.
    """

    name: str
    metric: str
    of: str
    value: float
    count: int
    interval: Interval | None = None
    stderr: float | None = None
    paired: bool | None = None
    asked: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def event(self, step: int, checkpoint: str) -> Event:
        """The `benchmark` event, of an adapter of that step."""
        values: dict[str, Any] = {"name": self.name, "metric": self.metric, "of": self.of, "value": self.value}
        if self.interval:
            values |= {"low": self.interval.low, "high": self.interval.high}
        if self.stderr is not None:
            values["stderr"] = self.stderr
        if self.paired is not None:
            values["paired"] = self.paired
        return Event("benchmark", step, {**values, "count": self.count, "checkpoint": checkpoint, **self.asked})


def preference(
    model: Model, chat: Chat, examples: Sequence[Example], recipe: Recipe, report: Report
) -> list[Result]:
    """PREFERENCE over the pairs, by the recipe's loss and with its savings, as the trainer scores them: the policy
    against its reference. Intervals are over pairs, as the trainer's: of the standard error, the accuracy's Wilson's.
    """
    pad = chat.pad
    report("comparing with the plain path", 0, 0)
    levers = settle(model, recipe.speed.without(["frozen_once"]), examples, pad)
    scored: list[PairLogps] = []
    done = 0
    for batch in in_batches(examples, recipe.held_out_pass, pad, shared=levers.speed.share_prompt):
        policy = model.logps(batch, reference=False)
        scored.append(as_pairs(batch, policy, model.logps(batch, reference=True)))
        done += batch.size
        report("scoring held-out pairs", done, len(examples))
    figures = pair_values(join(scored), recipe.loss)
    found = {
        key: figures[key].interval(of_share=key == ACCURACY) for key in PREFERENCE if figures[key].there.any()
    }
    return [Result("preference", key, "policy", one.value, done, one) for key, one in found.items()]


def divergence(
    model: Model, chat: Chat, prompts: Sequence[Sequence[int]], samples: int, tokens: int, seed: int, report: Report
) -> list[Result]:
    """KL(pi || ref) of the first `tokens` tokens of an answer, nats: the mean of log pi - log ref over `samples`
    answers drawn from the policy at temperature 1, their end included, to the prompts in turn. Unbiased (the estimator
    k1, Schulman 2020), so by chance it may be negative. Per token: over the tokens drawn. Intervals are over answers.
    """
    ends = sorted(chat.end_ids)
    asked = [prompts[number % len(prompts)] for number in range(samples)]
    ratio: list[float] = []
    lengths: list[int] = []
    for first in range(0, samples, TOGETHER):
        some = asked[first : first + TOGETHER]
        drawn = model.generate(
            some, tokens, ends, reference=False, temperature=1.0, seed=seed * samples + first, ends=True
        )
        rows = list(zip(some, drawn, strict=True))
        policy, reference = (model.score(rows, reference=which) for which in (False, True))
        ratio += [ours - theirs for (ours, _), (theirs, _) in zip(policy, reference, strict=True)]
        lengths += map(len, drawn)
        report("drawing answers", len(ratio), samples)
    top, count = np.array(ratio), np.array(lengths, np.float64)
    found = ratios({"per_answer": (top, np.ones(samples)), "per_token": (top, count)}, seed)
    return [Result(KL, key, "policy", one.value, samples, one) for key, one in found.items()]


def exact_match(
    model: Model, chat: Chat, questions: Sequence[Question], rule: Rule, tokens: int, seed: int, report: Report, *,
    adapted: bool, system: str = "",
) -> list[Result]:  # fmt: skip
    """The share of questions that the base and, with `adapted`, the policy answer right, greedily, and the difference.
    Intervals are over questions: Wilson's, and the difference's by resampling the same ones for both."""
    right: dict[str, np.ndarray] = {}
    sides = (("base", True), ("policy", False)) if adapted else (("base", True),)
    for of, reference in sides:
        found: list[bool] = []
        answers = greedy_answers(
            model, chat, questions, tokens, reference=reference, part=rule, system=system
        )  # fmt: skip
        for correct in answers:
            found.append(correct)
            report(f"answering questions ({of})", len(found), len(questions))
        right[of] = np.array(found, np.float64)
    shares = {of: share(values) for of, values in right.items()}
    if adapted:
        shares |= means({"difference": right["policy"] - right["base"]}, seed)
    return [
        Result("exact-match", "accuracy", of, one.value, len(questions), one, paired=of == "difference" or None)
        for of, one in shares.items()
    ]


def forgetting(model: Model, texts: Sequence[Sequence[Row]], report: Report, *, adapted: bool) -> list[Result]:
    """The perplexity of plain text under the base and, with `adapted`, the policy, and the difference of their logs,
    nats a token, with its standard error over the texts."""
    sides: dict[str, list[float]] = {"base": [], "policy": []} if adapted else {"base": []}
    for of, nats in sides.items():
        for some in negative_logps(model, texts, reference=of == "base"):
            nats += some
            report(f"scoring plain text ({of})", len(nats), len(texts))
    whole = Perplexity(texts, sides["base"], sides.get("policy", sides["base"]))
    found = [Result(FORGETTING, "perplexity", of, whole.of(nats), len(texts)) for of, nats in sides.items()]
    if adapted:
        error = whole.stderr if math.isfinite(whole.stderr) else None
        kind = FORGETTING, "log perplexity", "difference"
        found.append(Result(*kind, whole.change, len(texts), stderr=error, paired=True))
    return found


def distinct_prompts(examples: Sequence[Example]) -> list[list[int]]:
    """The prompts of the pairs, each once."""
    return list({tuple(example.prompt): example.prompt for example in examples}.values())
