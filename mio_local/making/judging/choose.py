"""The judge that the settings name."""

from mio_local.data.task_questions import RULES
from mio_local.errors import DataError, nearest
from mio_local.learning import MakeSettings
from mio_local.making.answered import Judge
from mio_local.making.judging.checkers import ByHand, Checker
from mio_local.making.judging.json_answers import JsonAnswers
from mio_local.making.judging.own_pairs import own_pairs
from mio_local.process import names_judge

__all__ = ["Judge", "judge_of", "may_run"]

KINDS = (*RULES, "regex:P", "json:FILE", "gold", "gold:RULE", "gold:any", "mismatch", "hand")


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
    known = sorted({name.partition(":")[0] for name in KINDS})
    raise DataError(f"--judge {judge}: no such judge{nearest(kind, known)}; there are {', '.join(KINDS)}")
