"""Pairs put into a template without rendering each: contents that it writes as they are go where stand-ins were."""

from typing import Literal, NamedTuple

from mio_local.data.messages import Message
from mio_local.data.pairs import Pair
from mio_local.data.templating.framing import Framed, Framing, Part
from mio_local.data.templating.literal import LiteralContents
from mio_local.data.templating.rendering import Renderer

STAND_IN = "mio-local-text-{}-7c1d04"
CHECKED = 16  # pairs that are rendered too, and then one in EVERY
EVERY = 1000


def is_checked(number: int) -> bool:
    """Whether the pair of this number, from 1, is done in full too, to see that the short way gives the same."""
    return number <= CHECKED or number % EVERY == 0


class Shape(NamedTuple):
    """What a template writes around literal contents: before each message's, and after the last up to the answer; what
    it puts before and after an answer's text; and what a generation prompt opens beyond that, if anything."""

    between: list[str]
    opening: str
    end: str
    ended: bool
    opens: str


class QuickFraming(Framing):
    """A `Framing` that renders what must be, the first pairs, and one in EVERY. `misled` tells that a pair came out
    otherwise than rendered, so that those before it are to be framed anew: never, where the template was read well."""

    def __init__(
        self, renderer: Renderer, ends: set[str],
        thoughts: Literal["keep", "drop"] = "keep", score: Literal["last", "all"] = "last",
    ) -> None:  # fmt: skip
        super().__init__(renderer, ends, thoughts, score)
        self.misled = False
        self._literal = LiteralContents(renderer.text)
        self._shapes: dict[tuple[str, ...], Shape | None] = {}
        self._quick = 0

    def frame(self, pair: Pair) -> Framed:
        """Raises BadRow for a pair that the template cannot hold, DataError for what it refuses; both name the row."""
        quick = None if self.misled else self._inserted(pair)
        if quick is None:
            return super().frame(pair)
        self._quick += 1
        if is_checked(self._quick):
            rendered = super().frame(pair)
            self.misled = rendered != quick
            return rendered
        return quick

    def _inserted(self, pair: Pair) -> Framed | None:
        """A pair whose contents the template writes as they are, put where the stand-ins of its shape were."""
        said = [answer for answer in pair.answers if isinstance(answer, str)]
        if not self._literal.usable or pair.tools or len(said) < len(pair.answers):
            return None
        said = [answer for answer in said if answer]
        messages = self.messages(pair.prompt)
        if any(len(message) > 2 for message in messages):
            return None
        roles = tuple(message["role"] for message in messages)
        if self.score == "all" and "assistant" in roles:
            return None
        contents = [message["content"] for message in messages]
        if not all(map(self._literal.takes, (*contents, *said))):
            return None
        if roles not in self._shapes:
            self._shapes[roles] = self._shape(roles, pair.where)
        shape = self._shapes[roles]
        if shape is None or (shape.opens and all(answer.startswith(shape.opens) for answer in said)):
            return None
        text = [part for both in zip(shape.between, [*contents, ""], strict=True) for part in both]
        answers = tuple(
            [Part(f"{shape.opening}{answer}{shape.end}", True)] if answer else [] for answer in pair.answers
        )
        ended = tuple(not answer or shape.ended for answer in pair.answers)
        return Framed([Part("".join(text), False)], answers, ended, [])

    def _shape(self, roles: tuple[str, ...], where: str) -> Shape | None:
        stand_ins = [STAND_IN.format(number) for number in range(len(roles))]
        messages: list[Message] = [
            {"role": role, "content": text} for role, text in zip(roles, stand_ins, strict=True)
        ]
        opened = self.renderer.render(messages, generate=True, where=where)
        head, tail = self.around(messages, where, None)
        before = opened if head.startswith(opened) else head
        between: list[str] = []
        rest = before
        for text in stand_ins:
            if before.count(text) != 1 or text not in rest:
                return None
            start, rest = rest.split(text)
            between.append(start)
        end = self.end_of(tail)
        opens = opened[len(head) :] if opened.startswith(head) else ""
        shown = tail.rstrip() if end is None else end
        return Shape([*between, rest], head[len(before) :], shown, end is not None, opens)
