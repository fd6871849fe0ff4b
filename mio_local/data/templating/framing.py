"""A pair as text: what is put before the answers, and each answer as its template writes it, scored parts apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Literal, NamedTuple

from mio_local.data.messages import Answer, BadRow, Message
from mio_local.data.pairs import Pair
from mio_local.data.templating.coverage import RESTORED, missing, pieces_of
from mio_local.data.templating.rendering import SENTINEL, Renderer, Tools
from mio_local.data.templating.thoughts import inline_thought, put_beside, thought_of, without_thoughts, written_inside
from mio_local.errors import MioError

STAND_IN: Message = {"role": "assistant", "content": SENTINEL}
FATAL = {
    "text of an answer": "the chat template leaves the answer out",
    "tool": "the chat template writes no tools; remove the column, or choose a --template that takes them",
    "tool call": "the chat template leaves a tool call out; choose a --template that takes tools",
    "earlier tool call": "the chat template leaves an earlier tool call out; choose a --template that takes tools",
}


class Part(NamedTuple):
    """A stretch of text, and whether its tokens are scored."""

    text: str
    scored: bool


@dataclass(frozen=True)
class Framed:
    """A pair or a group as text; an answer that is not there has no part. `ended` tells of each answer whether the
    template ends it. `lost` names the kinds of text that the user gave and that reach no token, and RESTORED where a
    thought was put back."""

    prompt: list[Part]
    answers: tuple[list[Part], ...]
    ended: tuple[bool, ...]
    lost: list[str]


class Side(NamedTuple):
    """One answer in its conversation: the messages, their whole text, where its end token ends (or its text, where the
    template writes none), and whether its thought was put back."""

    messages: list[Message]
    full: str
    stop: int
    ended: bool
    restored: bool

    @property
    def text(self) -> str:
        return self.full[: self.stop]


class Framing:
    """Puts pairs into a template. `ends` are the tokens that may end an answer."""

    def __init__(
        self, renderer: Renderer, ends: set[str],
        thoughts: Literal["keep", "drop"] = "keep", score: Literal["last", "all"] = "last",
    ) -> None:  # fmt: skip
        self.renderer = renderer
        self.ends = ends
        self.thoughts = thoughts
        self.score = score
        self._joins_last = False
        self._joiner = self._probed_joiner()

    def opening(self, prompt: list[Message] | str, where: str, tools: Tools | None = None) -> tuple[str, str, str]:
        """(the text that an answer without a thought follows, what the template writes between the two, what it writes
        after the answer). Raises DataError."""
        self._check_tools(tools, where)
        messages = self.messages(prompt)
        opened = self.renderer.render(messages, generate=True, where=where, tools=tools)
        head, tail = self.around(messages, where, tools)
        before = opened if head.startswith(opened) else head
        return before, head[len(before) :], tail

    def _check_tools(self, tools: Tools | None, where: str) -> None:
        if tools and not self.renderer.takes_tools:
            raise BadRow(where, FATAL["tool"])

    def frame(self, pair: Pair) -> Framed:
        """Raises BadRow for a pair that the template cannot hold, DataError for what it refuses; both name the row."""
        self._check_tools(pair.tools, pair.where)
        messages = self.messages(pair.prompt)
        opened = self.renderer.render(messages, generate=True, where=pair.where, tools=pair.tools)
        around = self.around(messages, pair.where, pair.tools)
        said = [answer for answer in pair.answers if answer]
        sides = [self._side(messages, answer, opened, around, pair) for answer in said]
        before = _before(opened, around[0], sides, messages[-1]["content"].strip(), pair.where)
        lost: dict[str, None] = {}
        for answer, side in zip(said, sides, strict=True):
            lost |= dict.fromkeys(self._lost(pair, answer, side, before))
        prompt = [Part(before, False)]
        if self.score == "all":
            turns = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
            spans = [self._turn(sides[0], number, pair) for number in turns]
            prompt = _parts(sides[0].text, 0, len(before), spans)
        coming = iter(sides)
        placed = [next(coming) if answer else None for answer in pair.answers]
        answers = tuple(self._answer(side, before, len(messages), pair) if side else [] for side in placed)
        return Framed(prompt, answers, tuple(side is None or side.ended for side in placed), list(lost))

    def messages(self, prompt: list[Message] | str) -> list[Message]:
        """A prompt as messages that the template takes: a system message goes into a user's turn where there is no
        place for it, or one that is gone once an answer follows."""
        if isinstance(prompt, str):
            return [{"role": "user", "content": prompt}]
        messages = self._thinking(prompt, answered=True)
        if self._joiner is None or messages[0]["role"] != "system" or len(messages) == 1:
            return messages
        system, rest = messages[0]["content"], messages[1:]
        place = -1 if self._joins_last and rest[-1]["role"] == "user" else 0
        rest[place] = {**rest[place], "content": f"{system}{self._joiner}{rest[place]['content']}"}
        return rest

    def _thinking(self, messages: Sequence[Message], *, answered: bool = False) -> list[Message]:
        """The messages with thoughts where this template takes them, or without; in turns that are `answered` a
        template without a place for thoughts may leave them out."""
        if self.thoughts == "drop":
            return without_thoughts(messages)
        if self.renderer.parts_thoughts:
            return [put_beside(message) for message in messages]
        if answered or self.renderer.takes_thoughts:
            return list(messages)
        return [message if self.renderer.takes_thought_of(message) else written_inside(message) for message in messages]

    def around(self, messages: list[Message], where: str, tools: Tools | None) -> tuple[str, str]:
        """What the template writes before and after the last answer's text."""
        text = self.renderer.render([*messages, STAND_IN], generate=False, where=where, tools=tools)
        start = text.rfind(SENTINEL)
        if start < 0:
            raise BadRow(where, "the chat template leaves the assistant's answer out")
        return text[:start], text[start + len(SENTINEL) :]

    def _side(
        self, messages: list[Message], answer: Answer, opened: str, around: tuple[str, str], pair: Pair
    ) -> Side:
        said = self._thinking(conversation(answer))
        whole = [*messages, *said]
        head, tail = around if len(said) == 1 else self.around(whole[:-1], pair.where, pair.tools)
        full = self.renderer.render(whole, generate=False, where=pair.where, tools=pair.tools)
        if said[-1].get("tool_calls"):  # which many templates end with a token of their own
            tail = next((end for end in self.ends if full.rstrip().endswith(end)), "")
            full = full.rstrip()
        if not full.endswith(tail):
            raise BadRow(pair.where, "the chat template writes the end of a turn differently for each answer")
        thought, restored = thought_of(said[-1]).strip(), False
        if thought and thought not in full[len(_shared_start(full, head)) :]:
            content = written_inside(said[-1])["content"]
            # an answer that begins inside a thought goes on after a generation prompt that opens one
            full = (head if content.lstrip().startswith(("<", "[")) else opened) + content + tail
            restored = True
        end = self.end_of(tail)
        stop = len(full) - len(tail) + len(tail.rstrip() if end is None else end)
        return Side(whole, full, stop, end is not None, restored)

    def end_of(self, tail: str) -> str | None:
        """`tail` up to and with its first token that may end an answer, or None when it has none; and with the
        tokenizer's own end where that follows at once, as after Cohere's <|END_RESPONSE|>."""
        found = [(tail.find(end), -len(end), end) for end in self.ends if end in tail]
        if not found:
            return None
        start, _, end = min(found)
        stop, eos = start + len(end), self.renderer.tokenizer.eos_token
        return tail[: stop + len(eos) if eos and tail.startswith(eos, stop) else stop]

    def _answer(self, side: Side, before: str, prompt: int, pair: Pair) -> list[Part]:
        """What follows the prompt's text: of several messages the last answer is scored, or every turn of its side."""
        if len(side.messages) == prompt + 1:
            return [Part(side.text[len(before) :], True)]
        told = [number for number in range(prompt, len(side.messages)) if side.messages[number]["role"] == "assistant"]
        spans = [self._turn(side, number, pair) for number in (told if self.score == "all" else told[-1:])]
        return _parts(side.text, len(before), len(side.text), spans)

    def _turn(self, side: Side, number: int, pair: Pair) -> tuple[int, int]:
        """Where in a side's text the assistant's message `number` begins, and where its end token ends."""
        earlier = side.messages[:number]
        try:
            opened = self.renderer.render(earlier, generate=True, where=pair.where, tools=pair.tools) if earlier else ""
        except MioError:  # a template that writes no prompt that ends there
            opened = ""
        starts = len(opened) if opened and side.text.startswith(opened) else 0
        if starts and number == len(side.messages) - 1:
            return starts, side.stop
        other = [*earlier, STAND_IN, *side.messages[number + 1 :]]
        text = self.renderer.render(other, generate=False, where=pair.where, tools=pair.tools)
        place = text.find(SENTINEL)
        after = text[place + len(SENTINEL) :]
        if place < 0 or not side.full.endswith(after):
            raise BadRow(pair.where, "the chat template writes earlier turns so that they cannot be told apart",
                         "; --set data.score=last")
        stop = len(side.full) - len(after) + len(self.end_of(after) or "")
        return starts or min(place, len(_shared_start(side.full, text))), stop

    def _lost(self, pair: Pair, answer: Answer, side: Side, before: str) -> list[str]:
        """The kinds of text that this side's tokens do not hold. Raises BadRow where that is fatal."""
        asked: list[Message] = (
            [{"role": "user", "content": pair.prompt}] if isinstance(pair.prompt, str) else list(pair.prompt)
        )
        given = [*asked, *conversation(answer)]
        if self.thoughts == "drop":
            given = without_thoughts(given)
        lost = missing(pieces_of(given, pair.tools, len(asked)), side.text)
        written = side.text[len(before) :]
        for kind in lost:
            lines = [line.strip() for line in inline_thought(given[-1]["content"])[1].splitlines() if line.strip()]
            if kind in FATAL and not (kind == "text of an answer" and any(line in written for line in lines)):
                raise BadRow(pair.where, FATAL[kind])
        return [*lost, RESTORED] if side.restored else lost

    def _probed_joiner(self) -> str | None:
        """What stands between a system message and the user's text that it has to be put before, None where it need
        not be: some templates refuse one or drop it, and some put it into the last turn, if that is the user's."""
        user = SENTINEL[::-1]
        asked: list[Message] = [{"role": "system", "content": SENTINEL}, {"role": "user", "content": user}]
        try:
            opened = self.renderer.render(asked, generate=True, where="")
            answered = self.renderer.render([*asked, {"role": "assistant", "content": "A"}], generate=False, where="")
        except MioError:
            return "\n\n"
        if SENTINEL in opened and SENTINEL not in answered and opened.find(user) > opened.find(SENTINEL):
            self._joins_last = True
            return opened[opened.find(SENTINEL) + len(SENTINEL) : opened.find(user)]
        return None if SENTINEL in opened else "\n\n"


def conversation(answer: Answer) -> list[Message]:
    """An answer as messages."""
    return [{"role": "assistant", "content": answer}] if isinstance(answer, str) else list(answer)


def _shared_start(*texts: str) -> str:
    return commonprefix(texts)  # noqa: RUF071 - characters are what is meant


def _before(opened: str, head: str, sides: Sequence[Side], asked: str, where: str) -> str:
    """What all answers follow: the generation prompt where all do, which may open a thought; else what stands before
    an answer in a conversation that is written out; else as much of the generation prompt as all go on from."""
    for before in (opened, head):
        if all(side.text.startswith(before) for side in sides):
            return before
    common = _shared_start(opened, *(side.text for side in sides))
    if asked not in common or len(common) <= common.rfind(asked) + len(asked):
        raise BadRow(where, "the chat template writes the prompt differently once the answer follows")
    return common


def _parts(text: str, start: int, stop: int, spans: Sequence[tuple[int, int]]) -> list[Part]:
    """`text` from `start` to `stop` as parts, those within `spans` scored."""
    parts: list[Part] = []
    for begin, end in spans:
        begin, end = max(begin, start), min(end, stop)
        if end > begin:
            parts += [Part(text[start:begin], False)] if begin > start else []
            parts.append(Part(text[begin:end], True))
            start = end
    return [*parts, Part(text[start:stop], False)] if stop > start else parts
