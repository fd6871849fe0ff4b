"""Layouts with messages in them: each side is made a whole conversation, and all are cut where they part."""

from collections.abc import Sequence
from typing import Any

from mio_local.data.messages import Answer, BadRow, Message, a_message_of, is_plain, messages_of, text_of
from mio_local.data.reading.cells import OTHERS, Cells, Turns, sides, turns_of
from mio_local.data.reading.plain_texts import user_last


def read_messages(cells: Cells, where: str, text: bool) -> Turns:
    """Answers as messages or texts, after a prompt or holding it."""
    prompt = cells.get("prompt")
    return _parted(prompt, [_conversation(prompt, answer, role, where) for role, answer in sides(cells)], where)


def read_answered(cells: Cells, where: str, text: bool) -> Turns:
    """ms-swift: a conversation that ends with the chosen answer, and the answers or the conversations rejected."""
    chosen = _ended(messages_of(cells["prompt"], "chosen", where), "chosen", where)
    rejected = [cells["rejected"], *cells.get(OTHERS, ())]
    return _parted(None, [chosen, *(_instead(chosen, answer, where) for answer in rejected)], where)


def _instead(chosen: list[Message], answer: Any, where: str) -> list[Message]:
    """The conversation of a rejected answer, which may be the answer alone."""
    if isinstance(answer, str):
        return [*chosen[:-1], {"role": "assistant", "content": text_of(answer, "rejected", where)}]
    rejected = _ended(messages_of(answer, "rejected", where), "rejected", where)
    if rejected[0]["role"] != "assistant":
        return rejected
    if chosen[-2:-1] and chosen[-2]["role"] != "user":
        raise BadRow(where, "rejected does not begin with the user's turn", "; write the whole conversation")
    return chosen[:-1] + rejected


def _parted(prompt: Any, talks: Sequence[list[Message]], where: str) -> Turns:
    """The common beginning of conversations, cut before an assistant's turn, and the rest of each."""
    first, shortest = talks[0], min(talks, key=len)
    most = len(shortest) - 1
    parts = next((turn for turn in range(most) if any(talk[turn] != first[turn] for talk in talks)), most)
    if parts == most and any(len(talk) > len(shortest) and talk[most] == shortest[most] for talk in talks):
        raise BadRow(where, "chosen and rejected differ before the last answer",
                     f" (at message {parts + 1}), where one of them ends")
    cut = parts
    while cut and any(talk[cut]["role"] != "assistant" for talk in talks):
        cut -= 1
    if not cut:
        raise BadRow(where, "chosen and rejected differ before the first answer", f" (at message {parts + 1})")
    answers, earlier = [_answer(talk[cut:]) for talk in talks], first[:cut]
    if isinstance(prompt, str) and earlier == [{"role": "user", "content": prompt}]:
        return turns_of(prompt, answers)
    return turns_of(user_last(earlier, where), answers)


def _answer(turns: list[Message]) -> Answer:
    return turns[0]["content"] if len(turns) == 1 and is_plain(turns[0]) else turns


def _conversation(prompt: Any, answer: Any, role: str, where: str) -> list[Message]:
    """All turns of one side, the last of which is an assistant's."""
    if isinstance(answer, str):
        turns: list[Message] = [{"role": "assistant", "content": answer}]
    else:
        turns = messages_of(answer, role, where)
    _ended(turns, role, where)
    if prompt is None:
        if len(turns) == 1:
            raise BadRow(where, f"{role} has an answer alone", "; there is no prompt column")
    elif turns[0]["role"] == "assistant":
        return user_last(_prompt_messages(prompt, where), where) + turns
    else:
        _check_contains(prompt, turns, role, where)
    return turns


def _ended(turns: list[Message], role: str, where: str) -> list[Message]:
    """`turns`, refused where no answer ends them."""
    if not turns or turns[-1]["role"] != "assistant":
        last = f"ends with {a_message_of(turns[-1]['role'])}" if turns else "is empty"
        raise BadRow(where, f"{role} {last}, not with an assistant's")
    if is_plain(turns[-1]):
        text_of(turns[-1]["content"], role, where)
    return turns


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
