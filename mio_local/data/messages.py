"""Cells of a row as text and as messages: the spellings of a chat that datasets use, made one."""

import re
from typing import Any

from mio_local.errors import DataError
from mio_local.text import kind_name

Message = dict[str, Any]  # {"role": "system" | "user" | "assistant", "content": text}

ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "bot": "assistant",
}  # fmt: skip
MARKER = re.compile(r"(?:\A|\n\n)(Human|Assistant): ?")
ANSWER = "\n\nAssistant:"


class BadRow(DataError):
    """A row that is no pair. `reason` is the same for every row with this fault; the text adds the row's details."""

    def __init__(self, where: str, reason: str, detail: str = "") -> None:
        super().__init__(f"{where}: {reason}{detail}")
        self.reason = reason


def kind_of(value: Any) -> str:
    """`null`, `text`, `message` (an object with a role), `messages`, `texts`, `empty` (list) or `other`."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text"
    if isinstance(value, dict):
        return "message" if "role" in value or "from" in value else "other"
    if isinstance(value, list):
        if not value:
            return "empty"
        if all(isinstance(item, dict) and ("role" in item or "from" in item) for item in value):
            return "messages"
        if all(isinstance(item, str) for item in value):
            return "texts"
    return "other"


def text_of(value: Any, role: str, where: str) -> str:
    """A cell that must be text with something in it."""
    if not isinstance(value, str):
        raise BadRow(where, f"{role} must be text, not {kind_name(value)}", _shown(value))
    if not value.strip():
        raise BadRow(where, f"{role} is empty")
    return checked(value, role, where)


def checked(text: str, role: str, where: str) -> str:
    """`text`, refused when it has half of a surrogate pair, which JSON can spell and no tokenizer can read."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRow(where, f"{role} is not Unicode text", f" (half a surrogate pair at {error.start})") from None
    return text


def _shown(value: Any) -> str:
    return f" ({value})" if isinstance(value, bool | int | float) else ""


def messages_of(value: Any, role: str, where: str) -> list[Message]:
    """A cell that must be a message, or a list of messages; empty system messages are left out."""
    items = value if isinstance(value, list) else [value]
    messages = [_message(item, role, where) for item in items]
    return [message for message in messages if message["content"].strip() or message["role"] != "system"]


def _message(item: Any, role: str, where: str) -> Message:
    if not isinstance(item, dict):
        raise BadRow(where, f"{role} must be a list of messages", f" (holds {kind_name(item)})")
    speaker = item.get("role") if item.get("role") is not None else item.get("from")
    name = ROLES.get(str(speaker).lower())
    if name is None:
        raise BadRow(where, f"{role} has a turn by {speaker!r}", "; known are system, user (human) and assistant (gpt)")
    if item.get("tool_calls") or item.get("function_call"):
        raise BadRow(where, f"{role} has a tool call", "; tool use is not supported")
    content = item.get("content") if item.get("content") is not None else item.get("value")
    return {"role": name, "content": checked(_content(content, name, role, where), role, where)}


def a_message_of(speaker: str) -> str:
    return f"{'an' if speaker == 'assistant' else 'a'} {speaker} message"


def _content(content: Any, speaker: str, role: str, where: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = []
        for part in content:
            if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                kind = part.get("type") if isinstance(part, dict) else kind_name(part)
                raise BadRow(where, f"{role} has a part that is not text", f" ({kind})")
            parts.append(part["text"])
        return "".join(parts)
    raise BadRow(where, f"{role} has {a_message_of(speaker)} without text", f" ({kind_name(content)})")


def is_transcript(value: Any) -> bool:
    """Whether a text has the form of HH-RLHF: `Human:` first, `Assistant:` after a blank line."""
    return isinstance(value, str) and value.lstrip().startswith("Human:") and ANSWER in value


def split_transcript(text: str, role: str, where: str) -> tuple[str, str]:
    """The text up to and with the last `Assistant:`, and all that follows it: joined, they are `text` again."""
    start = text.rfind(ANSWER)
    if start < 0:
        raise BadRow(where, f"{role} has no \\n\\nAssistant: turn")
    cut = start + len(ANSWER)
    return text[:cut], text[cut:]


def transcript_turns(text: str) -> list[tuple[str, str]]:
    """`text` as (marker, what was said) turns; joined in order they are `text` again.

    A marker is `Human:` or `Assistant:` after a blank line or at the start, with the one space after it if there is
    one. What precedes the first marker is a turn whose marker is empty.
    """
    turns: list[tuple[str, str]] = []
    marker, start = "", 0
    for match in MARKER.finditer(text):
        turns.append((marker, text[start : match.start()]))
        marker, start = match.group(), match.end()
    turns.append((marker, text[start:]))
    return turns if turns[0] != ("", "") else turns[1:]


def transcript_messages(text: str, role: str, where: str) -> list[Message]:
    """The turns of a transcript as messages."""
    turns = transcript_turns(text)
    if turns and not turns[0][0]:
        if turns[0][1].strip():
            raise BadRow(where, f"{role} has text before its first Human: or Assistant:")
        turns = turns[1:]
    return [{"role": "user" if "Human" in marker else "assistant", "content": said} for marker, said in turns]
