"""The content of a message, a text or a list of parts, and the thought that goes before it."""

from collections.abc import Mapping
from typing import Any

from mio_local.data.parts.bad_row import BadRow, is_null
from mio_local.text import kind_name

THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thought")  # fields
TEXT_PARTS = ("text", "input_text", "output_text")
THOUGHT_PARTS = ("thinking", "reasoning", "thought")


def content_of(item: Mapping[str, Any], role: str, where: str) -> tuple[str | None, str]:
    """(text, thought) of a message: no text for null, and an empty thought for none. Raises BadRow for other parts."""
    content = item.get("content") if not is_null(item.get("content")) else item.get("value")
    text, thoughts = content, _thought_fields(item, role, where)
    if isinstance(content, list):
        texts: list[str] = []
        for part in content:
            kind = part.get("type") if isinstance(part, dict) else kind_name(part)
            if kind in THOUGHT_PARTS:
                thoughts.append(_part_text(part, (*THOUGHT_PARTS, "text"), role, where))
            elif isinstance(part, dict) and (kind in TEXT_PARTS or (kind is None and "text" in part)):
                texts.append(_part_text(part, ("text",), role, where))
            else:
                raise BadRow(where, f"{role} has a part that is not text", f" ({kind})")
        text = "".join(texts) if texts or not thoughts else None
    if is_null(text):
        return None, "".join(thoughts)
    if not isinstance(text, str):
        raise BadRow(where, f"{role} has a message without text", f" ({kind_name(text)})")
    return text, "".join(thoughts)


def _thought_fields(item: Mapping[str, Any], role: str, where: str) -> list[str]:
    """The thought in a message's fields, which may have one under several names."""
    given = [item[name] for name in THOUGHTS if not is_null(item.get(name)) and item[name] != ""]
    for thought in given:
        if not isinstance(thought, str):
            raise BadRow(where, f"{role} has a thought that is not text", f" ({kind_name(thought)})")
    if len(set(given)) > 1:
        raise BadRow(where, f"{role} has a message with two thoughts", "; keep one of the fields")
    return given[:1]


def _part_text(part: Mapping[str, Any], names: tuple[str, ...], role: str, where: str) -> str:
    text = next((part[name] for name in names if isinstance(part.get(name), str)), None)
    if text is None:
        raise BadRow(where, f"{role} has a part that is not text", f" ({part.get('type')})")
    return text
