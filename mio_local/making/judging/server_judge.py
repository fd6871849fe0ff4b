"""The judge server:URL: a model on an OpenAI-compatible server compares answers, two at a time, in both orders.

The answers to a prompt stand in a ring, and each is compared with the next two on either side: with all others where
there are five or fewer. An answer's reward is the share of its decided comparisons that it won. A comparison is decided
where both orders name the same answer; ties, disagreements and answers without a verdict are dropped, and counted.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from mio_local.errors import DataError, MioError
from mio_local.learning import MakeSettings
from mio_local.making.answered import Answered, Rewards
from mio_local.making.judging.plain_judge import CLOSED, Closable, PlainJudge
from mio_local.making.judging.server_requests import Down, NoAnswer, Server
from mio_local.making.judging.verdicts import filled, judge_prompt, verdict_of

REACH, AT_ONCE = 2, 4  # neighbours on either side; requests at the same time
IN_A_ROW = 8  # comparisons without an answer before no more are tried
TOKENS = 2048  # of a verdict and its reasons
SECONDS = 120.0  # that one request may take, where the settings do not say


def comparisons(answers: int) -> list[tuple[int, int]]:
    """Which of so many answers are compared: those at most REACH apart in the ring, each once."""
    return sorted({
        (min(one, other), max(one, other)) for one in range(answers) for step in range(1, REACH + 1)
        if (other := (one + step) % answers) != one
    })  # fmt: skip


class ServerJudge(PlainJudge):
    """Rewards from 0 to 1, by comparison with the prompt's other answers alone: no right and wrong.

    Raises RecipeError as `Server` and `judge_prompt` do, and DataError for a server that is down, wants another key, or
    has no such model. From `judge` DataError too, once it does not answer any more.
    """

    def __init__(self, judge: str, url: str, settings: MakeSettings, *, trusted: bool) -> None:
        self._words = judge_prompt(settings.judge_prompt)
        self._said = f"--judge {judge}"
        self._server = Server(self._said, url, settings.judge_seconds or SECONDS, trusted=trusted)
        self._model = settings.judge_model or self._first_model()
        super().__init__(f"{judge} ({self._model})", None)
        self._options: dict[str, Any] = {"temperature": 0, "max_tokens": TOKENS}
        self._pool = Closable(AT_ONCE, "judge-server")
        self._failed = 0
        if settings.judge_model:
            self._check_model()

    def judge(self, answered: Sequence[Answered]) -> list[Rewards]:
        asked = [
            {pair: self._pool.begin(self._compared, one, *pair) for pair in comparisons(len(one.answers))}
            for one in answered
        ]
        try:
            return [self._rewards(one, found) for one, found in zip(answered, asked, strict=True)]
        finally:
            for one in asked:
                for each in one.values():
                    each.cancel()

    def close(self) -> None:
        """Let go of the server, whatever it is at."""
        self._server.close()
        self._pool.close()

    def _rewards(self, one: Answered, found: dict[tuple[int, int], "Future[tuple[int | None, str]]"]) -> Rewards:
        won, decided = Counter[int](), Counter[int]()
        why = ["there is no other answer to compare it with"] * len(one.answers)
        for pair, coming in found.items():
            winner, reason = self._pool.result(coming)
            if winner is not None:
                won[winner] += 1
                decided.update(pair)
                continue
            self.dropped[reason] += 1
            for number in pair:
                why[number] = reason
        rewards = tuple(
            won[number] / decided[number] if decided[number] else None for number in range(len(one.answers))
        )
        for reward, reason in zip(rewards, why, strict=True):
            if reward is None:
                self.skip(f"no comparison of it was decided: {reason}")
        return rewards

    def _compared(self, one: Answered, first: int, second: int) -> tuple[int | None, str]:
        """(the better one, "") or (None, why there is none). Raises DataError where the server is gone."""
        texts = one.answers[first], one.answers[second]
        if texts[0].strip() == texts[1].strip():
            return None, "both are the same"
        names = {"A": first, "B": second}, {"A": second, "B": first}
        better: list[int] = []
        for named, (above, below) in zip(names, (texts, texts[::-1]), strict=True):
            try:
                said = self._answer(filled(self._words, one.asked.prompt, above, below))
            except NoAnswer as error:
                return None, self._trouble(error)
            self._failed = 0
            verdict = verdict_of(said)
            if verdict is None:
                return None, "the judge gave no verdict"
            if verdict == "tie":
                return None, "a tie"
            better.append(named[verdict])
        return (better[0], "") if better[0] == better[1] else (None, "the judge said otherwise in the other order")

    def _answer(self, words: str) -> str:
        """What the model says. Raises NoAnswer, and DataError as the server does."""
        asked = {"model": self._model, "messages": [{"role": "user", "content": words}]}
        try:
            answer = self._server.ask("POST", "/chat/completions", asked | self._options)
        except NoAnswer as error:
            if error.status != 400 or not error.code.startswith("unsupported_"):
                raise
            self._options = {}  # some models take no temperature, and name the limit otherwise
            answer = self._server.ask("POST", "/chat/completions", asked)
        try:
            text = answer["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise NoAnswer("its answer holds no message") from None
        return text if isinstance(text, str) else ""

    def _trouble(self, error: NoAnswer) -> str:
        """Why one comparison has no answer. Raises DataError where no other is going to have one."""
        if str(error) == CLOSED:
            raise MioError(CLOSED)
        self._failed += 1
        if isinstance(error, Down) or error.status == 404 or self._failed >= IN_A_ROW:
            raise DataError(f"{self._said}: {error}; see to the server, then the same command goes on") from None
        return f"of the server, {error}"

    def _first_model(self) -> str:
        models = self._models()
        if not models:
            raise DataError(f"{self._said}: it names no model; load one there, or name it with make.judge_model")
        return models[0]

    def _check_model(self) -> None:
        """Nothing is told where a server does not say which models it has."""
        models = self._models(optional=True)
        if models and self._model not in models:
            there = ", ".join(models[:5])
            raise DataError(f"make.judge_model = {self._model}: not at {self._said[8:]}; there are {there}")

    def _models(self, *, optional: bool = False) -> list[str]:
        try:
            answer = self._server.ask("GET", "/models")
            return [str(each["id"]) for each in answer["data"] if each["id"]]
        except NoAnswer as error:
            if optional and error.status in (404, 405, 501):
                return []
            raise DataError(f"{self._said}: {error}; start the server, or give its address as its own help does, "
                            "with /v1 at the end") from None  # fmt: skip
        except (KeyError, TypeError):
            if optional:
                return []
            raise DataError(f"{self._said}: does not say which models it has; name one with make.judge_model") from None
