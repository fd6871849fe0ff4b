"""The verdict on a run, from its events: what it is, why, and what to do next.

A kind is a way in which preference tuning goes. They are asked for in this order, and the first that holds is it:

    diverged         a figure is no number; or chosen answers are nearer to random tokens than to the start; or the loss
                     on training batches is twice what it began with, or above 0 where that was below
    bad start        policy and reference differ before the first step
    nothing moves    no answer, or no margin, is visibly other than at the start
    forgetting       what the model could do is going: chosen answers sink (likelihood displacement, arXiv 2410.08847;
                     under DPO nothing holds them), plain text becomes less likely, tasks fail, rewards fall
    reward overfitting  the reward of held-out prompts falls while that of training prompts rises
    learns length    pairs are told apart only where the longer answer, or the shorter one, wins (arXiv 2403.19159)
    wrong way round  held-out pairs are told apart worse than by a coin, and training pairs better
    overfitting      held-out pairs get worse while the training pairs get better
    slipping         chosen answers sink measurably, though by little beside what tells one answer from another
    far from base    by `eval`, what the model says now is foreign to the model it began with: see FAR
    both rise        rejected answers rise with the chosen ones by more than what sets them apart
    at chance        held-out pairs are told apart no better than by a coin
    perhaps length   so many pairs have the longer answer, or the shorter one, as the chosen one that nobody can tell
    healthy          the reward of held-out prompts rose; or none of it: pairs are told apart, chosen answers not sunk

Before half of the steps are done, what has not happened yet makes it too early to tell; where standard errors were not
recorded one cannot tell. Measurable is what is beyond 1.96 of them. The MI bounds have no rule of their own: mi/js is
below 3 ln 2 - 1.5 ln 3 = 0.432 nats and mi/dv below ln 2 whatever the model does, and a negative one is a loss above
its start. Plain text that the base finds less likely than random tokens does not count: it had nothing to forget.
"""

import math

from mio_local.objectives.intervals import SURE
from mio_local.objectives.losses import LOSSES
from mio_local.reports.advice import earlier, faster, much_slower, shown, slower
from mio_local.reports.evidence import BATCHES, Evidence, evidence
from mio_local.reports.means import Mean, Share, mean_of, rise, shown_rise
from mio_local.reports.verdict_of_rewards import reward_fell, reward_stayed, with_rewards
from mio_local.runs.directory import Run
from mio_local.runs.history import History, read
from mio_local.runs.summary import KINDS, Verdict

__all__ = ["KINDS", "Verdict", "verdict"]

VISIBLE = 0.05  # nats an answer: less is +0.0 in the words
SWAPPED = "are chosen and rejected swapped in one of the files? mio-local data check shows a pair"
FAR = 1.0
"""Nats a token of KL(policy || reference), measurably exceeded by a model that is far from its base. The best of n
answers by any taste is ln n - (n - 1) / n nats from the model that gave them (Stiennon et al. 2020), so a
nat for each of 64 tokens is a choice among e^65 answers: more than pairs of answers can ask for."""
FEW = 8  # held-out pairs: of fewer, neither shares nor standard errors tell anything
MEDIUM = 0.5  # of a standard deviation: Cohen's (1988) medium effect; about two in three answers sank


def verdict(history: History) -> Verdict | None:
    """The verdict on a run; None for one that has not begun."""
    seen = evidence(history)
    if seen is None:
        return None
    found = next((found for rule in RULES if (found := rule(seen))), None) or _healthy(seen)
    return with_rewards(found, seen.rewards)


def keep_verdict(run: Run) -> None:
    """Write the verdict into the status of a run whose lock is held; nothing else of it changes. Raises RunError."""
    if found := verdict(read(run)):
        run.amend_status(verdict=found.kept())


def _diverged(seen: Evidence) -> Verdict | None:
    last, lower = seen.evals[-1] if seen.evals else {}, much_slower(seen.recipe)
    if "nonfinite" in seen.errors:
        return Verdict("diverged", f"no finite figures after step {seen.errors['nonfinite']}", lower)
    needs = LOSSES[seen.recipe.loss.name].needs
    told = "loss" if needs == "labels" else "delta/chosen"  # held-out answers may all be bad ones
    if seen.step and last and mean_of(last, told) is None:
        return Verdict("diverged", f"no finite figures at step {seen.step}", lower)
    if seen.per_token and seen.vocabulary:
        (start, now), random = seen.per_token, -math.log(seen.vocabulary)
        if now < (start + random) / 2 and start > random:  # else it knew nothing that could be lost
            words = f"chosen answers at {shown(now)} nats a token, {shown(start)} before; random tokens are at "
            return Verdict("diverged", f"{words}{shown(random)}", lower)
    loss = seen.recipe.loss
    start = LOSSES[loss.name].start(loss.beta)
    if start is not None and seen.batch_loss and seen.batch_loss.above(Mean(start + abs(start), 0.0)):
        return Verdict("diverged", f"loss on training batches {seen.batch_loss.value:.3g}, {start:.3g} before", lower)
    if "start" in seen.errors:
        return Verdict("bad start", "policy and reference differ before the first step", "see its notes")
    return None


def _still(seen: Evidence) -> Verdict | None:
    if "still" not in seen.errors or any(one.size >= VISIBLE for one in (seen.chosen, seen.rejected) if one):
        return None
    return Verdict("nothing moves", "no adapter weight moved in the first step", faster(seen.recipe, 0.0))


def _early(seen: Evidence) -> Verdict | None:
    of = f" of {seen.total}" if seen.total else ""
    if seen.held_out and not seen.step:
        every = seen.recipe.eval.every
        first = min(every, seen.total) if every and seen.total else every or seen.total
        then = f"; step {first}{of} is the first" if first else ""
        return Verdict("too early to tell", f"not evaluated since it began{then}")
    if not seen.held_out and seen.batches < BATCHES and not seen.late:
        return Verdict("too early to tell", f"step {seen.step}{of}")
    if seen.chosen is None or seen.chosen.sure is None:
        words = f"chosen {shown(seen.chosen.value)} nats" if seen.chosen else "no figures of the chosen answers"
        if seen.held_out and seen.chosen and seen.chosen.count == 1:
            return Verdict("cannot tell", f"{words}, but a single pair is held out", "give more by --eval-data")
        why = "and how sure that is was not recorded" if seen.held_out else "in training; no pairs are held out"
        return Verdict("cannot tell", f"{words}{', ' if seen.held_out else ' '}{why}")
    return None


def _moved(seen: Evidence) -> Verdict | None:
    size = max(one.size for one in (seen.chosen, seen.rejected) if one)
    if size >= VISIBLE:
        return None
    return _nothing(seen, size) if seen.late else _too_early(seen)


def _forgets(seen: Evidence) -> Verdict | None:
    why: list[str] = []
    if seen.tasks and seen.tasks[0].above(seen.tasks[1]):
        why.append(f"tasks right {seen.tasks[0].value:.0%} before, {seen.tasks[1].value:.0%} now")
    if seen.texts and seen.texts.rose and rise(seen.texts) >= 0.005:  # less is +0 %
        why.append(f"perplexity of plain text {shown_rise(seen.texts)}")
    if not why:
        return None
    sunk = [_sunk(seen)] if seen.chosen and seen.chosen.fell else []
    return Verdict("forgetting", ", ".join([*sunk, *why]), slower(seen.recipe))


def _reward_fell(seen: Evidence) -> Verdict | None:
    return reward_fell(seen.rewards, seen.recipe) if seen.rewards and seen.rewards.fell else None


def _reward_rose(seen: Evidence) -> Verdict | None:
    """Then the answers are better, whatever became of those that the reference gave."""
    if not seen.rewards or not seen.rewards.rose:
        return None
    return _drifts(seen) or Verdict("healthy", seen.rewards.sentence)


def _reward_stayed(seen: Evidence) -> Verdict | None:
    return reward_stayed(seen.rewards, seen.recipe, seen.late) if seen.rewards else None


def _few(seen: Evidence) -> Verdict | None:
    """Only then can what pairs tell be believed."""
    count = seen.chosen.count if seen.held_out and seen.chosen else None
    if not count or count >= FEW:
        return None
    words = f"{_figures(seen)}, but only {count:g} pairs are held out"
    return Verdict("cannot tell", words, "give more by --eval-data or --set data.eval_fraction=0.2")


def _overfits(seen: Evidence) -> Verdict | None:
    """By the loss against its best, and by the chosen answers against the start. Not of a run of rounds: each is of
    other answers, and its rewards say it themselves."""
    if seen.rewards:
        return None
    losses = {event["step"]: loss for event in seen.evals if (loss := mean_of(event, "loss"))}
    now, batch, pairs = losses.get(seen.step), seen.batch_loss, seen.batch_chosen
    if now and batch:
        best = min(losses, key=lambda step: losses[step].value)
        if now.above(losses[best]) and now.above(batch):
            words = f"held-out loss {now.value:.4g}, {losses[best].value:.4g} at step {best}; on training pairs "
            return Verdict("overfitting", f"{words}{batch.value:.4g}", earlier(seen.recipe, best))
    if seen.held_out and seen.chosen and seen.chosen.fell and pairs and pairs.rose:
        words = f"chosen {shown(seen.chosen.value)} nats held out, {shown(pairs.value)} on training pairs"
        best = min(losses, key=lambda step: losses[step].value, default=seen.step)
        return Verdict("overfitting", words, earlier(seen.recipe, best if best < seen.step else 0))
    return None


def _sinks(seen: Evidence) -> Verdict | None:
    if not seen.chosen or not seen.chosen.fell:
        return None
    deep = -seen.chosen.value >= MEDIUM * seen.chosen.spread
    return Verdict("forgetting" if deep else "slipping", _sunk(seen), slower(seen.recipe))


def _drifts(seen: Evidence) -> Verdict | None:
    drift = seen.drift
    if not drift or drift.token_low <= FAR:
        return None
    words = f"KL {drift.answer:.3g} nats an answer, {drift.token:.2g} a token; {_figures(seen)}"
    return Verdict("far from base", words, slower(seen.recipe))


def _both_rise(seen: Evidence) -> Verdict | None:
    chosen, rejected = seen.chosen, seen.rejected
    if not (LOSSES[seen.recipe.loss.name].rejected and chosen and rejected and chosen.rose and rejected.rose):
        return None
    if rejected.value <= chosen.value - rejected.value:
        return None
    return Verdict("both rise", _figures(seen), "are a pair's answers too alike? mio-local data check shows one")


def _chance(seen: Evidence) -> Verdict | None:
    if not LOSSES[seen.recipe.loss.name].rejected:
        return None
    right = seen.accuracy
    if not right or not right.count:
        return Verdict("cannot tell", "of how many pairs the accuracy is was not recorded")
    if right.low > 0.5:
        return None
    if not seen.late:
        return _too_early(seen)
    needed = (SURE * 0.5 / max(right.value - 0.5, 1e-6)) ** 2
    if needed > 10 * right.count:
        return Verdict("at chance", _accuracy(right), "are the pairs what they say? mio-local data check shows one")
    return Verdict("at chance", _accuracy(right), f"to tell that from chance takes some {needed:.0f} held-out pairs")


def _learns_length(seen: Evidence) -> Verdict | None:
    """Not where pairs of equal length are told apart; nor where the chosen answers sink in training too: then the
    longer ones sink further, which is no preference."""
    longer, shorter = seen.longer, seen.shorter
    sinks = seen.batch_chosen and seen.batch_chosen.fell and seen.chosen and seen.chosen.fell
    content = seen.alike and seen.alike.low > 0.5
    if not (LOSSES[seen.recipe.loss.name].rejected and longer and shorter) or content or sinks:
        return None
    better, worse = (longer, shorter) if longer.value >= shorter.value else (shorter, longer)
    if not (better.low > 0.5 >= worse.value and better.above(worse)):
        return None
    words = f"right in {longer.value:.0%} of pairs whose chosen answer is longer, {shorter.value:.0%} where shorter"
    mean = " or --reduction mean" if seen.recipe.loss.reduction == "sum" else ""
    return Verdict("learns length", words, f"balance the lengths of the pairs{mean}")


def _backwards(seen: Evidence) -> Verdict | None:
    right, batches = seen.accuracy, seen.batch_accuracy
    if not LOSSES[seen.recipe.loss.name].rejected or not (right and batches and right.high < 0.5 < batches.low):
        return None
    return Verdict("wrong way round", f"{_accuracy(right)}; {batches.value:.2f} on training pairs", SWAPPED)


def _perhaps_length(seen: Evidence) -> Verdict | None:
    """Where the rule to take the longer answer, or the shorter one, is right as often as the model."""
    longer, shorter, right = seen.longer, seen.shorter, seen.accuracy
    if not LOSSES[seen.recipe.loss.name].rejected or not right:
        return None
    if longer and shorter:  # who goes by length alone is wrong in one part as often as right in the other
        better, worse = (longer, shorter) if longer.value >= shorter.value else (shorter, longer)
        if better.above(Share(1 - worse.value, worse.count)):
            return None
    counts = {"longer": longer.count if longer else 0, "shorter": shorter.count if shorter else 0}
    than, other = sorted(counts, key=lambda name: -counts[name])
    if counts[than] < right.low * right.count:
        return None
    words = f"the chosen answer is the {than} one in {counts[than]} of {right.count} pairs"
    advice = f"hold out pairs whose chosen answer is {other}: --eval-data FILE"
    return Verdict("perhaps length", f"{words}; accuracy {right.value:.2f}", advice)


def _healthy(seen: Evidence) -> Verdict:
    chosen, rejected = seen.chosen, seen.rejected
    both = LOSSES[seen.recipe.loss.name].rejected
    gain = chosen.value - (rejected.value if rejected and both else 0.0) if chosen else 0.0
    if gain < VISIBLE or not (both or (chosen and chosen.rose)):
        return _nothing(seen, gain) if seen.late else _too_early(seen)
    return Verdict("healthy", _figures(seen))


def _nothing(seen: Evidence, size: float) -> Verdict:
    return Verdict("nothing moves", f"{_figures(seen)} at step {seen.step}", faster(seen.recipe, size))


def _too_early(seen: Evidence) -> Verdict:
    return Verdict("too early to tell", f"{_figures(seen)} at step {seen.step} of {seen.total}")


def _accuracy(right: Share) -> str:
    return f"accuracy {right.value:.2f} of {right.count} pairs, 95 % {right.low:.2f} to {right.high:.2f}"


def _figures(seen: Evidence, more: str = "") -> str:
    """The change of both kinds of answers, where both are trained on; `more` is of the chosen ones."""
    said = [f"chosen {shown(seen.chosen.value)}{more}"] if seen.chosen else []
    if seen.rejected and LOSSES[seen.recipe.loss.name].rejected:
        said.append(f"rejected {shown(seen.rejected.value)}")
    return f"{', '.join(said)} nats{'' if seen.held_out else ' in training (no pairs are held out)'}"


def _sunk(seen: Evidence) -> str:
    """The figures, and since which evaluation the chosen answers have been measurably below the start."""
    since = None
    for event in reversed(seen.evals):
        if not event["step"] or not (one := mean_of(event, "delta/chosen")) or not one.fell:
            break
        since = event["step"]
    return _figures(seen, f" (below 0 since step {since})" if since else "")


RULES = (
    _diverged, _still, _early, _moved, _forgets, _reward_fell, _reward_rose, _few, _learns_length, _backwards,
    _overfits, _sinks, _drifts, _reward_stayed, _both_rise, _chance, _perhaps_length,
)  # fmt: skip
