"""What was said in a chat: questions, and each voice's answers to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mio_local.chat.start import BASE
from mio_local.data.messages import Message
from mio_local.errors import DataError


@dataclass(frozen=True)
class Reply:
    """An answer to the messages `asked`; `end` says how it ended: `ended` by itself, `cut` at max_tokens, `stopped`."""

    voice: str
    text: str
    end: str
    asked: Sequence[Message]

    def check(self) -> None:
        """Raise DataError where it is no whole answer: a pair with it would train a model to end there."""
        if self.end == "cut":
            raise DataError(f"{self.voice} was cut at max_tokens; raise max_tokens (ctrl+o) and press ctrl+r")
        if self.end == "stopped":
            raise DataError(f"{self.voice} was stopped; press ctrl+r")
        if not self.text.strip():
            raise DataError(f"{self.voice} said nothing; press ctrl+r")


@dataclass
class Turn:
    """A question with all that was answered by each voice, the newest last; `better` is whose was called better."""

    question: str
    answers: dict[str, list[Reply]] = field(default_factory=dict[str, list[Reply]])
    better: str = ""

    def last(self, voice: str) -> Reply | None:
        """The voice's newest answer."""
        return (self.answers.get(voice) or [None])[-1]

    def text(self, voice: str) -> str:
        """The newest answer's text; empty where there is none."""
        reply = self.last(voice)
        return reply.text if reply else ""

    @property
    def kept(self) -> str:
        """Whose answer the conversation goes on from: the better one, else the trained model's, else the base's."""
        said = sorted((voice for voice in self.answers if self.text(voice).strip()), key=lambda voice: voice != BASE)
        return self.better or (said[-1] if said else "")


@dataclass
class Conversation:
    """All turns. Every voice is asked in the same words: what came before is what was kept."""

    turns: list[Turn] = field(default_factory=list[Turn])

    def ask(self, question: str) -> Turn:
        """A new turn, in the place of one that nobody answered."""
        if self.turns and not self.turns[-1].kept:
            self.turns.pop()
        self.turns.append(Turn(question))
        return self.turns[-1]

    def messages(self, system: str) -> list[Message]:
        """The conversation up to and with the last question, behind a system message where there is one."""
        found: list[Message] = [{"role": "system", "content": system}] if system else []
        for turn in self.turns[:-1]:
            found.append({"role": "user", "content": turn.question})
            found.append({"role": "assistant", "content": turn.text(turn.kept)})
        return [*found, {"role": "user", "content": self.turns[-1].question}]

    def pair(self, voices: Sequence[str]) -> list[Reply]:
        """The two answers to the last question that can be compared: those of the first two voices, or one voice's last
        two, the older first. Raises DataError where there are not two whole ones to the same words."""
        turn = self.turns[-1] if self.turns else Turn("")
        found = [turn.last(voice) for voice in voices[:2]] if len(voices) > 1 else turn.answers.get(voices[0], [])[-2:]
        two = [reply for reply in found if reply]
        if len(two) < 2:
            raise DataError("there are no two answers to the last question yet; ctrl+r asks again")
        for reply in two:
            reply.check()
        if two[0].asked != two[1].asked:
            raise DataError("the two were not asked the same, as the system message changed; press ctrl+r")
        if two[0].text == two[1].text:
            raise DataError("both answers are the same; ctrl+r asks again")
        return two
