"""Cells of a row as text and as messages: the spellings of a chat that datasets use, made one."""

import json
import re
from typing import Any

from mio_local.data.parts.bad_row import BadRow, NoPreference, checked, is_null
from mio_local.data.parts.contents import THOUGHTS, content_of
from mio_local.data.parts.tool_calls import calls_in, calls_of
from mio_local.text import kind_name

__all__ = ["BadRow", "NoPreference", "checked", "is_null"]

# {"role": "system" | "user" | "assistant" | "tool", "content": text}, and only where the data has them
# "reasoning_content" (text), "tool_calls" (a list of objects), "tool_call_id", "name"
Message = dict[str, Any]
Answer = str | list[Message]  # the content of one plain assistant message, or messages that end with an assistant's

ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "bot": "assistant",
    "function_call": "assistant", "tool_call": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "ipython": "tool", "tool_response": "tool",
}  # fmt: skip
PLAIN = ["system", "user", "assistant"]
CALLS = ("function_call", "tool_call")  # turns whose text is the call
CARRIED = {"role", "from", "content", "value", "tool_calls", "function_call", "tool_call_id", "name", *THOUGHTS}
CARRIED_OF_OTHERS = CARRIED - {*THOUGHTS}  # than the assistant
MARKER = re.compile(r"(?:\A|\n\n)(Human|Assistant): ?")
ANSWER = "\n\nAssistant:"


def kind_of(value: Any) -> str:
    """`null`, `text`, `message` (an object with a role), `empty` (a list), `other`, or of a list what it holds:
    `messages`, `texts`, `objects`, `conversations` (lists of messages)."""
    if is_null(value):
        return "null"
    if isinstance(value, str):
        return "text"
    if isinstance(value, dict):
        return "message" if "role" in value or "from" in value else "other"
    if isinstance(value, list):
        kinds = {kind_of(item) for item in value if not is_null(item)}
        if not kinds:
            return "empty"
        if len(kinds) == 1:
            held = {"message": "messages", "text": "texts", "messages": "conversations"}
            objects = all(isinstance(item, dict) for item in value if not is_null(item))
            return held.get(kinds.pop()) or ("objects" if objects else "other")
    return "other"


def text_of(value: Any, role: str, where: str) -> str:
    """A cell that must be text with something in it."""
    if not isinstance(value, str):
        raise BadRow(where, f"{role} must be text, not {kind_name(value)}", _shown(value))
    if not value.strip():
        raise BadRow(where, f"{role} is empty")
    return checked(value, role, where)


def _shown(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return ""  # Python writes no number of more than 4,300 digits
    return f" ({value})" if isinstance(value, bool | int | float) else ""


def messages_of(value: Any, role: str, where: str) -> list[Message]:
    """A cell that must be a message, or a list of messages; empty system messages are left out."""
    items = value if isinstance(value, list) else [value]
    messages = [_message(item, role, where) for item in items]
    return [message for message in messages if message["content"].strip() or message["role"] != "system"]


def _message(item: Any, role: str, where: str) -> Message:
    if not isinstance(item, dict):
        raise BadRow(where, f"{role} must be a list of messages", f" (holds {kind_name(item)})")
    if len(item) == 2 and isinstance(text := item.get("content"), str) and item.get("role") in PLAIN:
        return {"role": item["role"], "content": checked(text, role, where)}  # nearly all of them
    speaker = item.get("role") if item.get("role") is not None else item.get("from")
    spelt = str(speaker).lower()
    name = ROLES.get(spelt)
    if name is None:
        raise BadRow(where, f"{role} has a turn by {speaker!r}",
                     "; known are system, user (human), assistant (gpt) and tool")
    text, thought = content_of(item, role, where)
    calls = calls_of(item, role, where)
    if spelt in CALLS and not calls:
        calls, text = calls_in(text, role, where), None
    if calls and name != "assistant":
        raise BadRow(where, f"{role} has a tool call by the {name}", "; only the assistant calls tools")
    if name != "assistant":
        thought = ""
    if text is None:
        if not calls and not thought and name != "system":
            raise BadRow(where, f"{role} has {a_message_of(name)} without text", f" ({kind_name(text)})")
        text = ""
    message: Message = {"role": name, "content": checked(text, role, where)}
    if thought.strip():
        message["reasoning_content"] = checked(thought, role, where)
    if calls:
        message["tool_calls"] = calls
    for key in ("tool_call_id", "name"):
        if isinstance(item.get(key), str) and item[key]:
            message[key] = checked(item[key], role, where)
    return message


def fields_left(value: Any) -> set[str]:
    """The fields of messages that `messages_of` does not carry, where there is something in them."""
    items = value if isinstance(value, list) else [value]
    left: set[str] = set()
    for item in items:
        if isinstance(item, dict) and not item.keys() <= {"role", "content"}:
            thinks = ROLES.get(str(item.get("role") or item.get("from")).lower()) == "assistant"
            unknown = item.keys() - (CARRIED if thinks else CARRIED_OF_OTHERS)
            left.update(key for key in unknown if not is_null(item[key]) and item[key] not in ("", [], {}))
    return left


def is_plain(message: Message) -> bool:
    """Whether a message has a text alone."""
    return message.keys() == {"role", "content"}


def shown_text(answer: Answer | Message) -> str:
    """A message or an answer as one text for the eye: the thought before the content, the calls after it."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, list):
        if len(answer) == 1:
            return shown_text(answer[0])
        return "\n".join(f"{message['role']}: {shown_text(message)}" for message in answer)
    parts = [f"<think>{thought}</think>" if (thought := answer.get("reasoning_content")) else "", answer["content"]]
    if calls := answer.get("tool_calls"):
        parts.append(f"calls {json.dumps(calls, ensure_ascii=False)}")
    return "\n".join(filter(None, parts))


def a_message_of(speaker: str) -> str:
    return f"{'an' if speaker == 'assistant' else 'a'} {speaker} message"


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
