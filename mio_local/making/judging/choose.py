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
from mio_local.making.judging.unit_tests import UnitTests
from mio_local.process import names_judge

__all__ = ["Judge", "judge_of", "may_run"]

KINDS = (*RULES, "regex:P", "json:FILE", "tests", "python:FILE", "gold", "gold:RULE", "gold:any", "mismatch", "hand")
RUNS = {"python": "that Python file (read it first)", "tests": "the code in the answers"}


def may_run(settings: MakeSettings) -> bool:
    """Whether code that the settings name may run: for `judge_of`."""
    return names_judge(settings.judge)


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
    known = sorted({name.partition(":")[0] for name in KINDS})
    raise DataError(f"--judge {judge}: no such judge{nearest(kind, known)}; there are {', '.join(KINDS)}")
