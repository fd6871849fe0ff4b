"""The judge that the settings name."""

import shlex

from mio_local.data.task_questions import RULES
from mio_local.errors import DataError, RecipeError, nearest
from mio_local.learning import MakeSettings
from mio_local.making.answered import Judge
from mio_local.making.judging.checkers import ByHand, Checker
from mio_local.making.judging.json_answers import JsonAnswers
from mio_local.making.judging.limited_process import Limits
from mio_local.making.judging.own_pairs import own_pairs
from mio_local.making.judging.reward_function import RewardFunction
from mio_local.making.judging.server_judge import ServerJudge, comparisons
from mio_local.making.judging.unit_tests import UnitTests
from mio_local.making.prompts import Prompts
from mio_local.process import names_judge

__all__ = ["Judge", "check_known", "cost_of", "judge_of", "may_run"]

KINDS = (
    *RULES, "regex:P", "json:FILE", "tests", "python:FILE", "reward-model:NAME", "server:URL", "gold", "gold:RULE",
    "gold:any", "mismatch", "hand",
)  # fmt: skip
RUNS = {"python": "that Python file (read it first)", "tests": "the code in the answers"}


def may_run(settings: MakeSettings) -> bool:
    """Whether code that the settings name may run: for `judge_of`."""
    return names_judge(settings.judge)


def check_known(prompts: Prompts, settings: MakeSettings) -> None:
    """Raise DataError where the judge goes by known answers, and no prompt has one: no number of answers helps."""
    kind = settings.judge.partition(":")[0]
    if (kind in RULES or kind in ("regex", "gold")) and not prompts.known:
        raise DataError(f"--judge {settings.judge}: goes by known answers, and none of the {len(prompts.asked):,} "
                        f"prompts of {settings.prompts} has one; name their column with --columns chosen=NAME, or "
                        "take a judge that needs none: mismatch, python:FILE, server:URL, hand")  # fmt: skip


def cost_of(settings: MakeSettings, prompts: int) -> str:
    """What judging costs beside this machine's time, to be told before it begins; "" for nothing."""
    if not settings.judge.startswith("server:"):
        return ""
    pairs = comparisons(settings.answers)
    calls = 2 * len(pairs) * prompts
    return f"{calls:,} calls to the server at most: {len(pairs)} comparisons a prompt, each in both orders"


def judge_of(settings: MakeSettings, *, trusted: bool, seed: int = 0) -> Judge:
    """The judge, ready: what is wrong with it is told here, before anything is drawn. `trusted` says whether code that
    the settings name may run, see `may_run`. Raises DataError.
    """
    judge = settings.judge
    kind, colon, rest = judge.partition(":")
    if kind in ("gold", "mismatch"):
        return own_pairs(judge, seed)
    if judge == "hand":
        return ByHand()
    if kind == "regex" or judge in RULES:
        return Checker(judge)
    if kind == "json" and colon:
        return JsonAnswers(judge, rest)
    if judge == "tests" or (kind == "python" and colon):
        if not trusted:
            raise RecipeError(f"--judge {judge}: the recipe asks to run {RUNS[kind]}; to have it run, name it on the "
                              f"command line: {shlex.join(['--judge', judge])}")  # fmt: skip
        limits = Limits.of(settings)
        return UnitTests(limits) if judge == "tests" else RewardFunction(judge, rest, limits)
    if kind == "reward-model" and rest:
        from mio_local.making.judging.reward_model import RewardModel  # PyTorch takes seconds

        return RewardModel(judge, rest)
    if kind == "server" and colon:
        return ServerJudge(judge, rest, settings, trusted=trusted)
    known = sorted({name.partition(":")[0] for name in KINDS})
    raise DataError(f"--judge {judge}: no such judge{nearest(kind, known)}; there are {', '.join(KINDS)}")
