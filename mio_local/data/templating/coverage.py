"""The one rule: every piece of text that the user gave is found in what is tokenised, or is told."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mio_local.data.messages import Message
from mio_local.data.templating.thoughts import inline_thought

RESTORED = "thought that the template strips"  # told of, though its tokens are there
EARLIER = "thought of an earlier answer"
REPEATED = "answer of a group that becomes the tokens of another"  # told of, and left out of the group
FIELDS = ("name", "tool_call_id")  # of messages, which many templates have no place for


class Piece(NamedTuple):
    """A text that the user gave, and what it is: `system message`, `thought of an earlier answer`, ..."""

    kind: str
    text: str


def pieces_of(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None, answered: int) -> list[Piece]:
    """All texts of a conversation in order; messages from number `answered` on belong to the answer."""
    found = _offered(tools or [])
    for number, message in enumerate(messages):
        role, content = message["role"], message["content"]
        earlier = "earlier " if number < answered else ""
        thought: str | None = message.get("reasoning_content")
        if role == "assistant":
            if not thought:
                thought, content = inline_thought(content)
            whose = "an earlier answer" if earlier else "an answer"
            found += [Piece(f"thought of {whose}", thought)] if thought else []
            found.append(Piece(f"text of {whose}", content))
            found += [Piece(earlier + kind, text) for kind, text in _called(message)]
        else:
            found.append(Piece(f"{role} message", content))
        found += [Piece(f"{field} of a {role} message", str(message[field])) for field in FIELDS if message.get(field)]
    return found


def missing(pieces: Sequence[Piece], text: str) -> list[str]:
    """The kinds of the pieces that `text` does not hold, each kind once; a text that was given twice must be there
    twice, and where it is there once the less telling of the two is missing."""
    wanted = [(kind, bare) for kind, each in pieces if (bare := each.strip())]
    place = 0
    for _, bare in wanted:  # in order and apart from one another, as most templates write them
        place = text.find(bare, place)
        if place < 0:
            break
        place += len(bare)
    if place >= 0:
        return []
    given = [bare for _, bare in wanted]
    lost: dict[str, None] = {}
    for bare in dict.fromkeys(given):
        spelled = sorted({bare, _escaped(bare), _escaped(bare, ascii_only=True)}, key=len, reverse=True)
        found = re.findall("|".join(map(re.escape, spelled)), text)  # each place once
        short = sum(each.count(bare) for each in given) - len(found)
        kinds = sorted((kind for kind, each in wanted if each == bare), key=_telling)
        lost |= dict.fromkeys(kinds[: max(short, 0)])
    return list(lost)


def told(lost: Mapping[str, tuple[int, str]]) -> list[str]:
    """One line with the remedy for each kind of text that reached no token; `lost` is by kind, as in `EncodeCounts`."""
    lines: list[str] = []
    for kind, (count, where) in lost.items():
        pairs = f"{count:,} pair{'s' if count > 1 else ''} (first: {where})"
        if kind == RESTORED:
            lines.append(f"the chat template strips the thoughts of answers: they are put back in {pairs}; "
                         "--set data.thoughts=drop leaves them out")
        elif kind == REPEATED:
            lines.append(f"{kind}: left out of {pairs}")
        elif kind == EARLIER:
            lines.append(f"{kind}: reaches no token in {pairs}: the chat template leaves it out, as in a chat")
        else:
            lines.append(f"{kind}: reaches no token in {pairs}: the chat template leaves it out; "
                         "choose a --template that writes it")
    return lines


def _telling(kind: str) -> int:
    """How much is lost where a text of this kind is: the higher, the more."""
    if kind.partition(" of ")[0] in FIELDS:
        return 0
    if kind == "tool":  # which a template that takes tools writes, so that a call of that name is what is missing
        return 5
    return 1 if kind == EARLIER else 2 if "earlier" in kind else 3 if " of a " in kind else 4


def _escaped(text: str, *, ascii_only: bool = False) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1]


def _called(message: Message) -> list[Piece]:
    """Names, argument names and argument values of the tools that a message calls."""
    found: list[Piece] = []
    for call in message.get("tool_calls") or []:
        function = call.get("function", call)
        arguments = function.get("arguments")
        found.append(Piece("tool call", str(function.get("name", ""))))
        found += [Piece("argument of a tool call", text) for text in _leaves(arguments)]
    return found


def _offered(tools: Sequence[Mapping[str, Any]]) -> list[Piece]:
    """Names, descriptions and parameters of the tools that a prompt offers."""
    found: list[Piece] = []
    for tool in tools:
        function = tool.get("function", tool)
        found.append(Piece("tool", str(function.get("name", ""))))
        found.append(Piece("description of a tool", str(function.get("description") or "")))
        parameters = function.get("parameters")
        properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
        for name, about in (properties or {}).items():
            found.append(Piece("parameter of a tool", str(name)))
            if isinstance(about, Mapping):
                found.append(Piece("description of a parameter", str(about.get("description") or "")))
    return found


def _leaves(value: Any) -> Iterable[str]:
    """The keys, texts and numbers in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield json.dumps(value)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield str(key)
            yield from _leaves(each)
    elif isinstance(value, Iterable):
        for each in value:
            yield from _leaves(each)
