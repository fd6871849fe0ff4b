"""Prompts to pairs: answers drawn, judged meanwhile, and made into the pairs that pass the filters.

    made = make(model, chat, asked, settings, judge, seed, work)

It needs no run and no command line. The same model, prompts, settings, judge and seed give the same, stopped on the way
or not.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from mio_local.backends import Model
from mio_local.data.messages import Answer, shown_text
from mio_local.data.template import Chat
from mio_local.learning import MakeSettings
from mio_local.making.answered import FIRST, Answered, Asked, Judge, Judged, Rewards
from mio_local.making.drawing import Chunk, answered_of, chunks, draw
from mio_local.making.pair_choice import Candidate, Filters, choose
from mio_local.making.prompts import prompt_ids
from mio_local.making.work_file import Ids, Work


@dataclass(frozen=True)
class Progress:
    """How far the making is. Of `answers` and `tokens` those drawn by this process, in `seconds`; `known` answers were
    there before."""

    answers: int
    known: int
    total: int
    tokens: int
    seconds: float
    judging: bool = False

    @property
    def left(self) -> float:
        """Seconds that the other answers are going to take, 0 where that is unknown."""
        return (self.total - self.known - self.answers) * self.seconds / self.answers if self.answers else 0.0


@dataclass(frozen=True)
class Made:
    """One asked prompt: its answers as they were drawn, their rewards, and the pairs that they make."""

    answered: Answered
    ids: Sequence[Sequence[int]]
    rewards: Rewards
    pairs: Sequence[Candidate]


@dataclass(frozen=True)
class Making:
    """Of all prompts that have answers with rewards, and what was left out; `asked` is the number of prompts."""

    made: Sequence[Made]
    left: Filters
    asked: int
    unjudged: Counter[str] = field(default_factory=Counter[str])  # answers without a reward, by reason
    dropped: Counter[str] = field(default_factory=Counter[str])  # comparisons that decided nothing, by reason

    @property
    def pairs(self) -> int:
        """How many pairs there are."""
        return sum(len(each.pairs) for each in self.made)


def silent(progress: Progress) -> None:
    """Report nothing."""


class Maker:
    """Draws and judges by `run`, which an interrupt ends at once, and the judge with it; another maker goes on then.
    `making` gives what is there. `key` names the judge with all that its rewards depend on. With `reference` the
    answers are the reference's."""

    def __init__(
        self, model: Model | None, chat: Chat, asked: Sequence[Asked], settings: MakeSettings, judge: Judge, seed: int,
        work: Work | None = None, *, key: str = "", reference: bool = False,
    ) -> None:  # fmt: skip
        self.model, self.chat, self.asked, self.settings = model, chat, asked, settings
        self.judge, self.seed, self.reference = judge, seed, reference
        self.work, self.key = work or Work(), key or judge.name
        self.chunks = chunks([prompt_ids(chat, one) for one in asked], settings)

    def run(self, report: Callable[[Progress], None] = silent) -> None:
        """Draw and judge all that is not there yet. Raises MioError, as the judge does."""
        for _ in self.going(report):
            pass

    def going(self, report: Callable[[Progress], None] = silent) -> Iterator[Progress]:
        """As `run`; who takes what comes after each chunk may leave it at that."""
        assert self.model is not None  # who has none only reads what there is
        total, began = len(self.asked) * self.settings.answers, time.perf_counter()
        known = sum(self._answers(chunk) for chunk in self.chunks if self._ids(chunk) is not None)
        before, tokens, partly = 0, 0, (0, 0)

        def told(done: int, drawn: int, judging: bool = False) -> None:
            nonlocal partly
            partly = done, drawn
            spent = time.perf_counter() - began
            report(Progress(before + done, known, total, tokens + drawn, spent, judging))

        judging: deque[tuple[Chunk, Ids, Future[Judged]]] = deque()
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="judge")  # while others are drawn
        try:
            coming = draw(
                self.model, self.chat, self.chunks, self.settings, self.seed, self.work, told, reference=self.reference
            )
            for chunk, ids in coming:
                before, tokens, partly = before + partly[0], tokens + partly[1], (0, 0)
                if self._is_hard and self.work.logps(chunk.number, ids) is None:
                    self.work.add_logps(chunk.number, ids, self._logps(chunk, ids))
                if self.work.judged(self.key, chunk.number, ids) is None:
                    judging.append((chunk, ids, pool.submit(self._judged, self._answered(chunk, ids))))
                while judging and judging[0][2].done():
                    self._keep(*judging.popleft())
                yield Progress(before, known, total, tokens, time.perf_counter() - began)
            while judging:
                told(0, 0, judging=True)
                self._keep(*judging.popleft())
        except KeyboardInterrupt:
            self.judge.close()  # what it is at may take minutes
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            for waiting in judging:
                if not waiting[2].cancelled() and waiting[2].exception() is None:
                    self._keep(*waiting)

    def making(self) -> Making:
        """The pairs of the prompts that are answered and judged."""
        left, whole, said = Filters(), [], list[Judged]()
        for chunk in self.chunks:
            ids = self._ids(chunk)
            judged = None if ids is None else self.work.judged(self.key, chunk.number, ids)
            if ids is not None and judged is not None:
                logps = self.work.logps(chunk.number, ids) or [None] * len(ids)
                whole += list(zip(self._answered(chunk, ids), ids, judged.rewards, logps, strict=True))
                said.append(judged)
        given = [None] * len(whole)
        if self.judge.kind == "pairs":
            given = self.judge.pairs([one[0] for one in whole], [one[2] for one in whole])
        made = [
            Made(answered, ids, rewards, choose(answered, rewards, self.settings, self._length, left, logps, pairs))
            for (answered, ids, rewards, logps), pairs in zip(whole, given, strict=True)
        ]
        unjudged, dropped = (together([getattr(each, name) for each in said]) for name in ("unjudged", "dropped"))
        return Making(made, left, len(self.asked), unjudged, dropped)

    @property
    def _is_hard(self) -> bool:
        return self.settings.negatives == "hardest"

    def _ids(self, chunk: Chunk) -> Ids | None:
        return self.work.answers(chunk.number, chunk.digest)

    def _answers(self, chunk: Chunk) -> int:
        return len(chunk.prompts) * self.settings.answers

    def _answered(self, chunk: Chunk, ids: Ids) -> list[Answered]:
        return [answered_of(self.chat, self.asked[at], one) for at, one in zip(chunk.places, ids, strict=True)]

    def _logps(self, chunk: Chunk, ids: Ids) -> list[list[float]]:
        """log p of the answers, their ends included, by the way that training scores: nats."""
        rows = [(prompt, answer) for prompt, answers in zip(chunk.prompts, ids, strict=True) for answer in answers]
        assert self.model is not None
        found = [logp for logp, _ in self.model.score(rows, reference=self.reference)]
        count = self.settings.answers
        return [found[first : first + count] for first in range(0, len(found), count)]

    def _judged(self, answered: Sequence[Answered]) -> Judged:
        """What the judge says of a chunk: it is asked for one at a time."""
        self.judge.unjudged.clear()
        self.judge.dropped.clear()
        rewards = self.judge.judge(answered)
        return Judged(rewards, dict(self.judge.unjudged), dict(self.judge.dropped))

    def _keep(self, chunk: Chunk, ids: Ids, judged: Future[Judged]) -> None:
        self.work.add_judged(self.key, chunk.number, ids, judged.result())

    def _length(self, answer: Answer) -> int:
        return len(self.chat.tokenizer(shown_text(answer), add_special_tokens=False, verbose=False)["input_ids"])


def together(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """The sums by reason; of a reason's messages the first stays."""
    shown: dict[str, str] = {}
    sums = Counter[str]()
    for each in counts:
        for text, count in each.items():
            sums[shown.setdefault(text.partition(FIRST)[0], text)] += count
    return sums


def make(
    model: Model, chat: Chat, asked: Sequence[Asked], settings: MakeSettings, judge: Judge, seed: int,
    work: Work | None = None, report: Callable[[Progress], None] = silent, *, key: str = "", reference: bool = False,
) -> Making:  # fmt: skip
    """All of it: see `Maker`."""
    maker = Maker(model, chat, asked, settings, judge, seed, work, key=key, reference=reference)
    maker.run(report)
    return maker.making()

