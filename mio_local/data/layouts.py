"""The layouts that preference datasets come in, and how a row of each is read into prompt and answers.

To support another layout, add an entry to `LAYOUTS`, and its spellings of the columns to `detect.SYNONYMS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mio_local.data.messages import (
    BadRow,
    Message,
    a_message_of,
    messages_of,
    split_transcript,
    text_of,
    transcript_messages,
)

PAIR = ("chosen", "rejected")
Turns = tuple[list[Message] | str, str, str]  # prompt, chosen answer, rejected answer
Cells = Mapping[str, Any]  # a row's values by role


@dataclass(frozen=True)
class Layout:
    """One layout: its name, what it looks like, the kinds of cells that show it, and how to read a row of it.

    `kinds` gives the kind of cell for each role that the layout needs; prompt is `none` where there is no such column.
    `read(cells, where, text)` returns prompt, chosen and rejected, or raises `BadRow`; `text` asks for a prompt that
    is plain text where the layout allows both (a tokenizer without a chat template).
    """

    name: str
    shows: str
    kinds: Mapping[str, str]
    read: Callable[[Cells, str, bool], Turns]


def optional_text(cells: Cells, role: str, where: str) -> str:
    """The text of a cell that may be missing or blank."""
    value = cells.get(role)
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    return text_of(value, role, where)


def _read_text(cells: Cells, where: str, text: bool) -> Turns:
    prompt = cells["prompt"]
    if more := optional_text(cells, "input", where):
        prompt = f"{prompt}\n{more}"
    earlier = _history(cells.get("history"), where)
    messages: list[Message] | str = [*earlier, {"role": "user", "content": prompt}] if earlier else prompt
    return messages, cells["chosen"], cells["rejected"]


def _history(history: Any, where: str) -> list[Message]:
    messages: list[Message] = []
    if history and not isinstance(history, list):
        raise BadRow(where, "history must be a list of [question, answer]")
    for turn in history or []:
        if not isinstance(turn, list | tuple) or len(turn) != 2:
            raise BadRow(where, "history must be a list of [question, answer]")
        for role, said in zip(("user", "assistant"), turn, strict=True):
            messages.append({"role": role, "content": text_of(said, "history", where)})
    return messages


def _read_outputs(cells: Cells, where: str, text: bool) -> Turns:
    answers = cells["answers"]
    if len(answers) != 2:
        raise BadRow(where, "output must be two texts, chosen and rejected", f" (found {len(answers)})")
    chosen, rejected = (text_of(answer, role, where) for answer, role in zip(answers, PAIR, strict=True))
    return _read_text({**cells, "chosen": chosen, "rejected": rejected}, where, text)


def _read_transcripts(cells: Cells, where: str, text: bool) -> Turns:
    (prompt, chosen), (other, rejected) = (split_transcript(cells[role], role, where) for role in PAIR)
    if prompt != other:
        raise BadRow(where, "chosen and rejected differ before the last Assistant: turn")
    for role, answer in zip(PAIR, (chosen, rejected), strict=True):
        text_of(answer, role, where)
    if text:
        return prompt, chosen, rejected
    messages = transcript_messages(prompt, "chosen", where)[:-1]
    return _user_last(messages, where), chosen.removeprefix(" "), rejected.removeprefix(" ")


def _read_transcript_prompt(cells: Cells, where: str, text: bool) -> Turns:
    prompt, after = split_transcript(cells["prompt"], "prompt", where)
    if after.strip():
        raise BadRow(where, "prompt has text after its last Assistant:")
    if text:
        return cells["prompt"], cells["chosen"], cells["rejected"]
    messages = transcript_messages(prompt, "prompt", where)[:-1]
    return _user_last(messages, where), cells["chosen"].removeprefix(" "), cells["rejected"].removeprefix(" ")


def _read_messages(cells: Cells, where: str, text: bool) -> Turns:
    """Every layout with messages in it: each side is made a whole conversation, then split before its last answer."""
    prompt = cells.get("prompt")
    (earlier, chosen), (other, rejected) = (_conversation(prompt, cells[role], role, where) for role in PAIR)
    if earlier != other:
        turn = next((i for i, (a, b) in enumerate(zip(earlier, other, strict=False)) if a != b),
                    min(len(earlier), len(other)))
        raise BadRow(where, "chosen and rejected differ before the last answer", f" (at message {turn + 1})")
    if isinstance(prompt, str) and earlier == [{"role": "user", "content": prompt}]:
        return prompt, chosen, rejected
    return _user_last(earlier, where), chosen, rejected


def _conversation(prompt: Any, answer: Any, role: str, where: str) -> tuple[list[Message], str]:
    """The turns before the last answer, and that answer."""
    if isinstance(answer, str):
        turns: list[Message] = [{"role": "assistant", "content": answer}]
    else:
        turns = messages_of(answer, role, where)
    if not turns or turns[-1]["role"] != "assistant":
        last = f"ends with {a_message_of(turns[-1]['role'])}" if turns else "is empty"
        raise BadRow(where, f"{role} {last}, not with an assistant's")
    text_of(turns[-1]["content"], role, where)
    if prompt is None:
        if len(turns) == 1:
            raise BadRow(where, f"{role} has an answer alone", "; there is no prompt column")
    elif turns[0]["role"] == "assistant":
        turns = _prompt_messages(prompt, where) + turns
    else:
        _check_contains(prompt, turns, role, where)
    return turns[:-1], turns[-1]["content"]


def _prompt_messages(prompt: Any, where: str) -> list[Message]:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else messages_of(prompt, "prompt", where)


def _check_contains(prompt: Any, turns: list[Message], role: str, where: str) -> None:
    """A whole conversation beside a prompt column must begin with that prompt, which is then not repeated."""
    if isinstance(prompt, str):
        begins = any(turn["role"] == "user" and turn["content"].strip() == prompt.strip() for turn in turns)
    else:
        asked = [turn for turn in messages_of(prompt, "prompt", where) if turn["role"] != "system"]
        while asked and asked[-1]["role"] == "assistant":  # a `messages` column that holds the chosen answer too
            asked.pop()
        begins = [turn for turn in turns if turn["role"] != "system"][: len(asked)] == asked
    if not begins:
        raise BadRow(where, f"{role} is a conversation that does not hold the prompt")


def _user_last(messages: list[Message], where: str) -> list[Message]:
    if not messages or messages[-1]["role"] != "user":
        last = f"ends with {a_message_of(messages[-1]['role'])}" if messages else "has no message"
        raise BadRow(where, f"prompt {last}", "; it must end with the user's")
    text_of(messages[-1]["content"], "prompt", where)
    return messages


LAYOUTS: tuple[Layout, ...] = (
    Layout("hh-rlhf", "chosen, rejected: Human/Assistant transcripts",
           {"prompt": "none", "chosen": "transcript", "rejected": "transcript"}, _read_transcripts),
    Layout("hh-prompt", "prompt: Human/Assistant transcript; chosen, rejected: text",
           {"prompt": "transcript", "chosen": "text", "rejected": "text"}, _read_transcript_prompt),
    Layout("alpaca", "instruction, input, chosen, rejected: text",
           {"prompt": "text", "input": "text", "chosen": "text", "rejected": "text"}, _read_text),
    Layout("text", "prompt, chosen, rejected: text",
           {"prompt": "text", "chosen": "text", "rejected": "text"}, _read_text),
    Layout("alpaca-output", "instruction, output: text and [chosen, rejected]",
           {"prompt": "text", "answers": "texts"}, _read_outputs),
    Layout("implicit", "chosen, rejected: whole conversations",
           {"prompt": "none", "chosen": "messages", "rejected": "messages"}, _read_messages),
    Layout("ultrafeedback", "prompt: text; chosen, rejected: messages",
           {"prompt": "text", "chosen": "messages", "rejected": "messages"}, _read_messages),
    Layout("messages", "prompt, chosen, rejected: messages",
           {"prompt": "messages", "chosen": "messages", "rejected": "messages"}, _read_messages),
    Layout("sharegpt", "conversations: messages; chosen, rejected: one message",
           {"prompt": "messages", "chosen": "message", "rejected": "message"}, _read_messages),
    Layout("messages-text", "prompt: messages; chosen, rejected: text",
           {"prompt": "messages", "chosen": "text", "rejected": "text"}, _read_messages),
    Layout("text-message", "prompt: text; chosen, rejected: one message",
           {"prompt": "text", "chosen": "message", "rejected": "message"}, _read_messages),
)  # fmt: skip
