"""What the verdict says of a run of rounds, by rewards whose difference is so many standard errors."""

import pytest

from mio_local.recipe import build
from mio_local.reports.verdict import verdict
from mio_local.runs.directory import Run
from mio_local.runs.history import History
from tests.reports.test_verdict import DONE, START, batches, recipe_of, scored

GOOD = scored(100, 1.0, -3.0)


def judged(before, now, drawn, prompts=100, stderr=0.04, last=GOOD, every=10, done=True):
    """Ten rounds of ten steps."""
    history = History(Run("x"), recipe_of("mio", every=every))
    held = [{"type": "reward", "step": step, "reward/held_out": mean, "reward/held_out_stderr": stderr,
             "prompts": prompts} for step, mean in ((0, before), (last["step"] if last else 100, now))]  # fmt: skip
    rounds = [{"type": "round", "step": 10 * at, "round": at + 1, "reward/mean": mean} for at, mean in enumerate(drawn)]
    scores = [START, last] if last else []
    events = [{"type": "started", "step": 0, "total_steps": 100, "vocabulary": 1000}, *scores, *batches(1, 100), *held]
    history.add([*events, *rounds, *([DONE] if done else [])])
    return verdict(history)


RISING = [0.3, 0.31, 0.32, 0.3, 0.31, 0.6, 0.61, 0.6, 0.62, 0.61]
LEVEL = [0.5, 0.52, 0.48, 0.5, 0.51, 0.5, 0.49, 0.51, 0.5, 0.5]


@pytest.mark.parametrize(
    ("now", "drawn", "kind", "told"),
    [
        (0.62, RISING, "healthy", "it rose"),  # 2.1 standard errors of a difference, 0.0566
        (0.60, RISING, "cannot tell", "no measurable change"),  # 1.8
        (0.38, RISING, "reward overfitting", "it fell"),
        (0.38, LEVEL, "forgetting", "it fell"),
        (0.51, LEVEL, "nothing moves", "no measurable change"),
    ],
)
def test_the_held_out_reward_decides(now, drawn, kind, told):
    found = judged(0.5, now, drawn)
    assert found.kind == kind
    assert f"reward 0.50 ± 0.04 before, {now:.2f} ± 0.04 now on 100 held-out prompts: {told}" in found.words


def test_to_tell_a_rise_takes_as_many_prompts_as_make_it_1_96_standard_errors():
    # (1.96 * sqrt(2) * 0.4 / 0.1)^2 = 122.9, where 0.4 is the standard deviation: 0.04 times the root of 100
    assert judged(0.5, 0.6, RISING).advice == "to tell such a rise takes some 123 held-out prompts"
    assert judged(0.5, 0.5, LEVEL, prompts=10).kind == "cannot tell"  # ten prompts never tell that nothing moves


def test_a_rise_in_training_is_told_beside_a_fall():
    assert judged(0.5, 0.38, RISING).words.endswith("it fell; in training 0.31, then 0.61")


def test_before_half_of_the_steps_it_is_too_early():
    found = judged(0.5, 0.51, LEVEL, last=scored(40, 1.0, -3.0), done=False)
    assert (found.kind, "no measurable change" in found.words) == ("too early to tell", True)


def test_what_else_is_wrong_is_told_with_the_reward():
    nothing = judged(0.5, 0.62, RISING, last=scored(100, 0.0, 0.0, spread=0.0))
    assert nothing.kind == "nothing moves"
    assert nothing.words.startswith("reward 0.50 ± 0.04 before, 0.62 ± 0.04 now on 100 held-out prompts: it rose; ")


def test_rewards_of_training_alone_are_told_as_such():
    history = History(Run("x"), recipe_of("mio"))
    rounds = [{"type": "round", "step": at, "reward/mean": mean} for at, mean in enumerate(RISING)]
    history.add([{"type": "started", "step": 0, "total_steps": 100}, START, *batches(1, 100), GOOD, *rounds, DONE])
    found = verdict(history)
    assert found.kind == "healthy"
    assert "reward 0.31 in the first rounds, 0.61 in the last; no prompts are held out to tell by; " in found.words


def test_where_no_pairs_are_held_out_the_words_say_so():
    tables = {"model": {"name": "m"}, "data": {"source": "d"}, "train": {"steps": 1}}
    history = History(Run("x"), build(tables, "test"))
    step = {"type": "step", "step": 1, "delta/chosen": 0.0, "delta/rejected": 0.0, "loss": 1.0}
    history.add([{"type": "started", "step": 0, "total_steps": 1}, step, DONE | {"step": 1}])
    found = verdict(history)
    assert (found.kind, found.words) == ("cannot tell", "chosen +0.00 nats in training; no pairs are held out")


def test_rewards_whose_sum_no_float_holds_are_told_in_few_characters():
    assert len(judged(0.5, 0.38, [1e308] * 10).line) < 300
