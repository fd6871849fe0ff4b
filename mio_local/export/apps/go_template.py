"""A chat template in Go, which Ollama's Modelfile takes, from one in Jinja: by what that writes, not by how it is
written.

Most templates frame each message by its role alone: ChatML, Llama 3, Phi, Zephyr; Gemma and Mistral put the system
message into the first question. The frames are found by rendering one conversation, and tried on others that end with
a question: a template that writes anything else there has no frames here.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mio_local.data.messages import Message
from mio_local.data.template import Chat
from mio_local.data.templating.rendering import Renderer, template_text
from mio_local.errors import MioError

Render = Callable[[Sequence[Message], bool], str]
USER, ASSISTANT, SYSTEM = "mio-local-question-5ef2", "mio-local-answer-5ef2", "mio-local-rules-5ef2"
WORDS = ("How are you?", "Fine, thanks.\nAnd you?", "1 < 2 && \"x\"", "Be brief.\nAlways.")
MONTH = 40 * 86400  # seconds: a template that prints the day writes another one then


@dataclass(frozen=True)
class Frames:
    """What a template writes around a message's text. `opening`: before the first of a conversation without a system
    message. `system`: around one; where it is `inside` the first question, the second part is what stands between the
    two. `answer`: what an answer is asked for by."""

    opening: str
    system: tuple[str, str] | None
    user: tuple[str, str]
    assistant: tuple[str, str]
    answer: str
    inside: bool

    def write(self, messages: Sequence[Message]) -> str:
        """A conversation that ends with a question, and what opens its answer."""
        text = "" if messages[0]["role"] == "system" else self.opening
        before = ""
        for message in messages:
            role, content = message["role"], message["content"]
            if role == "system":
                assert self.system
                framed = f"{self.system[0]}{content}{self.system[1]}"
                before, text = (framed, text) if self.inside else ("", text + framed)
                continue
            left, right = self.user if role == "user" else self.assistant
            text += f"{before or left}{content}{right}"
            before = ""
        return text + self.answer

    def in_go(self, leaves_out: str) -> str:
        """The same in Go, as Ollama gives it `.Messages` and `.System`; without `leaves_out`, which Ollama's tokenizer
        writes itself."""
        opening = _literal(self.opening.removeprefix(leaves_out))
        user, assistant = (f"{_literal(left)}{{{{ $m.Content }}}}{_literal(right)}"
                           for left, right in (self.user, self.assistant))  # fmt: skip
        first = ""
        if self.system:
            left, right = _literal(self.system[0].removeprefix(leaves_out)), _literal(self.system[1])
            if self.inside:
                end = f"{{{{ $m.Content }}}}{_literal(self.user[1])}"
                user = f"{{{{ if and $.System (eq $i 1) }}}}{left}{{{{ $.System }}}}{right}{end}" \
                       f"{{{{ else }}}}{user}{{{{ end }}}}"  # fmt: skip
            else:
                first = f"{{{{ else if eq $m.Role \"system\" }}}}{left}{{{{ $m.Content }}}}{right}"
        opening = f"{{{{ if not .System }}}}{opening}{{{{ end }}}}" if self.system and opening else opening
        return (
            f"{opening}{{{{ range $i, $m := .Messages }}}}"
            f"{{{{ if eq $m.Role \"user\" }}}}{user}"
            f"{{{{ else if eq $m.Role \"assistant\" }}}}{assistant}{first}{{{{ end }}}}{{{{ end }}}}"
            f"{_literal(self.answer)}"
        )


def _literal(text: str) -> str:
    return text.replace("{{", '{{ "{{" }}')


def frames_of(chat: Chat) -> tuple[Frames | None, str]:
    """The frames of a conversation's template, or why it has none."""
    assert chat.template is not None
    if template_text(chat.tokenizer, chat.template_name, chat.now + MONTH) != chat.template:
        return None, "it prints the day"
    renderer = Renderer(chat.tokenizer, chat.template, chat.settings.template_args)

    def render(messages: Sequence[Message], generate: bool) -> str:
        return renderer.render(messages, generate=generate, where="a trial")

    try:
        marks = [mark for token in chat.tokenizer.added_tokens_decoder.values() if (mark := str(token)).strip()]
        found = _found(render, marks)
        if found is None or not all(_same(found, render, roles) for roles in _trials(found)):
            return None, "it frames messages by more than their role"
    except MioError:
        return None, "it refuses plain conversations"
    return found, ""


def _found(render: Render, marks: Sequence[str]) -> Frames | None:
    asked: list[Message] = [{"role": "user", "content": USER}]
    answered: list[Message] = [*asked, {"role": "assistant", "content": ASSISTANT}]
    parts = re.split(f"{USER}|{ASSISTANT}", render([*answered, *answered, *asked], True))
    if len(parts) != 6 or parts[1:3] != parts[3:5]:
        return None
    first, to_answer, to_question, last = parts[0], parts[1], parts[2], parts[5]
    # where one message ends and the next begins is seen in a conversation that ends there, if that is as they are here
    _, _, end = render(asked, False).partition(USER)
    if not (to_answer.startswith(end) and last.startswith(end)):
        end = to_answer[: _shared(to_answer, last, marks)]
    again = to_question[len(to_question) - _shared(to_question[::-1], first[::-1], [mark[::-1] for mark in marks]) :]
    try:
        ruled = render([{"role": "system", "content": SYSTEM}, *asked], True)
    except MioError:
        ruled = ""
    system, inside = _system(ruled, again, last)
    assistant = to_answer.removeprefix(end), to_question.removesuffix(again)
    return Frames(first.removesuffix(again), system, (again, end), assistant, last.removeprefix(end), inside)


def _shared(one: str, other: str, marks: Sequence[str]) -> int:
    """How many letters both begin with, none of these marks cut."""
    length = next((at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right),
                  min(len(one), len(other)))  # fmt: skip
    inside = {at + cut for text in (one, other) for mark in marks for at in _places(text, mark)
              for cut in range(1, len(mark))}  # fmt: skip
    while length in inside:
        length -= 1
    return length


def _places(text: str, mark: str) -> list[int]:
    return [match.start() for match in re.finditer(re.escape(mark), text)]


def _system(text: str, before: str, last: str) -> tuple[tuple[str, str] | None, bool]:
    """The frame of the system message in front of a question, and whether it is inside the question's own."""
    parts = re.split(f"{SYSTEM}|{USER}", text)
    if len(parts) != 3 or parts[2] != last or text.find(USER) < text.find(SYSTEM):
        return None, False
    if parts[1].endswith(before):
        return (parts[0], parts[1].removesuffix(before)), False
    return (parts[0], parts[1]), True


def _trials(found: Frames) -> list[str]:
    plain = ["u", "uau", "uauau"]
    return [*plain, *(f"s{roles}" for roles in plain)] if found.system else plain


def _same(found: Frames, render: Render, roles: str) -> bool:
    named = {"s": "system", "u": "user", "a": "assistant"}
    for shift in range(len(WORDS)):
        messages: list[Message] = [{"role": named[role], "content": WORDS[(shift + number) % len(WORDS)]}
                                   for number, role in enumerate(roles)]  # fmt: skip
        if render(messages, True) != found.write(messages):
            return False
    return True


