"""Layouts whose answers are texts: plain ones, and transcripts of Human and Assistant."""

from typing import Any

from mio_local.data.messages import (
    BadRow,
    Message,
    a_message_of,
    is_null,
    split_transcript,
    text_of,
    transcript_messages,
)
from mio_local.data.reading.answer_groups import grouped
from mio_local.data.reading.cells import PAIR, Cells, Made, Turns, optional_text, sides, turns_of
from mio_local.data.reading.wanted import Wanted

SURE = 40  # characters: two answers do not begin with as long a prompt by chance


def whole_prompt(cells: Cells, where: str) -> str:
    """The prompt of a text row: its context, the question, and the input that belongs to an instruction."""
    prompt = cells["prompt"]
    if more := optional_text(cells, "input", where):
        prompt = f"{prompt}\n{more}"
    if context := optional_text(cells, "context", where):
        prompt = f"{context}\n\n{prompt}"
    return prompt


def repeats_prompt(cells: Cells) -> bool:
    """Whether both answers begin with the prompt, and go on."""
    prompt = cells["prompt"]
    return all(cells[role].startswith(prompt) and cells[role][len(prompt) :].strip() for role in PAIR)


def read_text(cells: Cells, where: str, text: bool) -> Turns:
    """Texts, after an earlier conversation where there is one."""
    earlier = _history(cells.get("history"), where)
    prompt: list[Message] | str = cells["prompt"]
    if earlier:
        prompt = [*earlier, {"role": "user", "content": prompt}]
    return turns_of(prompt, [answer for _, answer in sides(cells)])


def _history(history: Any, where: str) -> list[Message]:
    messages: list[Message] = []
    if is_null(history) or not history:
        return messages
    if not isinstance(history, list):
        raise BadRow(where, "history must be a list of [question, answer]")
    for turn in history:
        if not isinstance(turn, list | tuple) or len(turn) != 2:
            raise BadRow(where, "history must be a list of [question, answer]")
        for role, said in zip(("user", "assistant"), turn, strict=True):
            messages.append({"role": role, "content": text_of(said, "history", where)})
    return messages


def make_from_outputs(cells: Cells, columns: Cells, where: str, ranking: str, wanted: Wanted) -> Made:
    """One list of two texts, the chosen one first; of more where more than one is to be rejected."""
    answers = cells["answers"]
    if wanted.negatives > 1 and isinstance(answers, list) and len(answers) > 2:
        return grouped(cells, (None, answers[0]), [(None, answer) for answer in answers[1:]], where, wanted)
    if not isinstance(answers, list) or len(answers) != 2:
        found = len(answers) if isinstance(answers, list) else "no list"
        raise BadRow(where, "output must be two texts, chosen and rejected", f" (found {found})")
    return Made([{**cells, **dict(zip(PAIR, answers, strict=True))}])


def read_transcripts(cells: Cells, where: str, text: bool) -> Turns:
    """Whole transcripts."""
    parted = [(role, *split_transcript(value, role, where)) for role, value in sides(cells)]
    prompt = parted[0][1]
    if any(other != prompt for _, other, _ in parted):
        raise BadRow(where, "chosen and rejected differ before the last Assistant: turn")
    answers = [text_of(answer, role, where) for role, _, answer in parted]
    if text:
        return turns_of(prompt, answers)
    messages = transcript_messages(prompt, "chosen", where)[:-1]
    return turns_of(user_last(messages, where), [answer.removeprefix(" ") for answer in answers])


def read_transcript_prompt(cells: Cells, where: str, text: bool) -> Turns:
    """A transcript that ends where the answer begins, and two texts."""
    prompt, after = split_transcript(cells["prompt"], "prompt", where)
    if after.strip():
        raise BadRow(where, "prompt has text after its last Assistant:")
    answers = [answer for _, answer in sides(cells)]
    if text:
        return turns_of(cells["prompt"], answers)
    messages = transcript_messages(prompt, "prompt", where)[:-1]
    return turns_of(user_last(messages, where), [answer.removeprefix(" ") for answer in answers])


def user_last(messages: list[Message], where: str) -> list[Message]:
    """A prompt, which must end with a question or with what a tool answered."""
    if not messages or messages[-1]["role"] not in ("user", "tool"):
        last = f"ends with {a_message_of(messages[-1]['role'])}" if messages else "has no message"
        raise BadRow(where, f"prompt {last}", "; it must end with the user's, or a tool's")
    if messages[-1]["role"] == "user":
        text_of(messages[-1]["content"], "prompt", where)
    return messages
