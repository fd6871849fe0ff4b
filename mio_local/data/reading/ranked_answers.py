"""Several answers with a score or a rank each, made pairs or a group."""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

from mio_local.data.formats.written_values import written
from mio_local.data.messages import BadRow, NoPreference, is_null
from mio_local.data.reading.answer_groups import Rewarded, best_with_worse, reward_of, sampled
from mio_local.data.reading.cells import REWARDS, Cells, Made
from mio_local.data.reading.wanted import Wanted

ANSWERS = ("response", "answer", "completion", "generation", "output", "text", "content")
SCORES = ("overall_score", "fine-grained_score", "score", "rating", "reward")
RANKS = ("rank", "ranking")
Scored = list[tuple[float, Any]]  # an answer after its score, the higher the better


def make_from_ranked(cells: Cells, columns: Cells, where: str, ranking: str, wanted: Wanted) -> Made:
    """The best answer with the worst, or for the ranking `all` every two of different scores, in the row's order; a
    group where more than one is to be rejected, or all are samples."""
    name = columns["candidates"]
    given = answers_of(cells, columns, where, strict=wanted.groups)
    if wanted.needs == "samples":
        return sampled(cells, given, name, where)
    if wanted.negatives > 1:
        return best_with_worse(cells, given, name, where, wanted)
    scored: Scored = [(score, answer) for score, answer in given if score is not None and not is_null(answer)]
    if len(scored) < 2:
        raise BadRow(where, f"{name} has fewer than two answers with a score")
    if ranking == "all":
        pairs = [(one, other) for one, other in itertools.combinations(scored, 2) if one[0] != other[0]]
        undecided = math.comb(len(given), 2) - len(pairs)
    else:
        best, worst = max(scored, key=_score), min(scored, key=_score)
        pairs, undecided = [(best, worst)] if best[0] > worst[0] else [], 0
    if not pairs:
        raise NoPreference(where, f"{name} has equal scores: no answer is better")
    ordered = [(one, other) if one[0] > other[0] else (other, one) for one, other in pairs]
    made = [{**cells, "chosen": one[1], "rejected": other[1]} for one, other in ordered]
    if wanted.rewarded:
        rewards = [(one[0], other[0]) for one, other in ordered]
        return Made([{**pair, REWARDS: each} for pair, each in zip(made, rewards, strict=True)], undecided)
    return Made(made, undecided)


def answers_of(cells: Cells, columns: Cells, where: str, *, strict: bool) -> list[Rewarded]:
    """A row's answers after their scores, None for one without. Raises BadRow, and if `strict` for a score in a column
    of scores that is text, and for one that is NaN or infinite."""
    name = columns["candidates"]
    answers = _list(cells["candidates"], name, where)
    texts = [_text(answer, name, where) for answer in answers]
    scores = _own_scores([answer for answer in answers if isinstance(answer, Mapping)])
    if "scores" in columns and scores.count(None) == len(scores):
        scores = _beside(answers, cells["scores"], name, columns["scores"], where, strict)
    if len(scores) != len(answers):
        raise BadRow(where, f"{name} must be a list of objects, each with an answer and a score")
    if strict:
        scores = [reward_of(score, name, where) for score in scores]
    return list(zip(scores, texts, strict=True))


def _score(scored: tuple[float, Any]) -> float:
    return scored[0]


def _list(value: Any, name: str, where: str) -> list[Any]:
    found = written(value) if isinstance(value, str) else value
    if not isinstance(found, list):
        raise BadRow(where, f"{name} is missing" if is_null(value) else f"{name} must be a list")
    return found


def _beside(
    answers: list[Any], value: Any, name: str, column: str, where: str, strict: bool
) -> list[float | None]:
    """The scores in a column of their own."""
    scores = _list(value, column, where)
    if len(scores) != len(answers):
        raise BadRow(where, f"{column} must have a number for each of {name}", f" ({len(scores)} for {len(answers)})")
    sign = -1 if column.endswith(("rank", "ranks", "ranking", "rankings")) else 1
    numbers = [reward_of(score, column, where) if strict else _number(score) for score in scores]
    return [None if number is None else sign * number for number in numbers]


def _text(answer: Any, name: str, where: str) -> Any:
    """An answer as it is, or in an object that has its score or its model beside it."""
    if is_null(answer) or isinstance(answer, str | list):
        return answer
    if not isinstance(answer, Mapping):
        raise BadRow(where, f"{name} must be a list of answers")
    field = next((field for field in ANSWERS if not is_null(answer.get(field))), None)
    if field is None:
        raise BadRow(where, f"{name} has an object without an answer", f"; known are {', '.join(ANSWERS)}")
    return answer[field]


def _own_scores(answers: list[Mapping[str, Any]]) -> list[float | None]:
    """The scores or ranks in the answers, under the name that most of them have."""
    readers: list[Callable[[Mapping[str, Any]], float | None]] = [
        *(lambda answer, field=field: _number(answer.get(field)) for field in SCORES),
        *(lambda answer, field=field: _negative(_number(answer.get(field))) for field in RANKS),
        lambda answer: _mean_rating(answer.get("annotations")),
    ]
    found = [[read(answer) for answer in answers] for read in readers]
    return max(found, key=lambda scores: len(scores) - scores.count(None))


def _mean_rating(annotations: Any) -> float | None:
    """Of UltraFeedback's ratings by aspect: {"helpfulness": {"Rating": "4"}, ...}."""
    if not isinstance(annotations, Mapping):
        return None
    aspects = itertools.chain.from_iterable(a if isinstance(a, list) else [a] for a in annotations.values())
    ratings = [_number(aspect.get("Rating")) for aspect in aspects if isinstance(aspect, Mapping)]
    known = [rating for rating in ratings if rating is not None]
    return sum(known) / len(known) if known else None


def _negative(rank: float | None) -> float | None:
    return None if rank is None else -rank


def _number(value: Any) -> float | None:
    """A score that is a number, or text that is one; None for what is missing or no number."""
    if isinstance(value, bool) or is_null(value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(number) else number
