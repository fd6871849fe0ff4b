"""What was said in a chat: questions, and each voice's answers to them."""

from dataclasses import dataclass, field

from mio_local.message import Message


@dataclass
class Turn:
    """A question with all that was answered by each voice, the newest last; `kept` is whose answer the conversation
    goes on from, `better` whose was called better."""

    question: str
    answers: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    kept: str = ""
    better: str = ""

    def last(self, voice: str) -> str:
        """The voice's newest answer; empty where it has none."""
        return (self.answers.get(voice) or [""])[-1]


@dataclass
class Conversation:
    """All turns. Every voice is asked in the same words: what came before is what was kept."""

    turns: list[Turn] = field(default_factory=list[Turn])

    def ask(self, question: str) -> Turn:
        """A new turn."""
        self.turns.append(Turn(question))
        return self.turns[-1]

    def messages(self, system: str) -> list[Message]:
        """The conversation up to and with the last question, behind a system message where there is one."""
        found: list[Message] = [{"role": "system", "content": system}] if system else []
        for turn in self.turns[:-1]:
            found.append({"role": "user", "content": turn.question})
            found.append({"role": "assistant", "content": turn.last(turn.kept)})
        return [*found, {"role": "user", "content": self.turns[-1].question}]

    def pair(self, voices: list[str]) -> tuple[str, str] | None:
        """The two answers to the last question that can be compared: those of two voices, or one voice's last two, the
        older first. None where there are not two that differ."""
        if not self.turns:
            return None
        turn = self.turns[-1]
        two = [turn.last(voice) for voice in voices] if len(voices) > 1 else turn.answers.get(voices[0], [])[-2:]
        return (two[0], two[1]) if len(two) == 2 and all(two) and two[0] != two[1] else None
