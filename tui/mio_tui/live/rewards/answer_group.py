"""The answers that one prompt got in a round, the best first, each with its reward. All of it is text from outside."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from rich.text import Text

from mio_local.runs.history import History, is_number
from mio_tui.formatting import NONE, block, count, line, number
from mio_tui.live.sample import padded, wrapped

LEAST = 34  # columns of an answer that stands beside others
LIMIT = 1000  # characters of a text
REWARD = 6  # columns of a reward, and its blank


def groups_of(history: History) -> tuple[dict[str, Any], ...]:
    """The rounds that hold a group of answers, oldest first."""
    return tuple(event for event in history.of("round") if isinstance(event.get("group"), dict))


def group_text(rounds: Sequence[dict[str, Any]], index: int, waiting: bool, width: int) -> Text:
    """The group of round number `index` in lines of at most `width` columns: answers side by side where they have room,
    those that are the same once, with how often."""
    if not rounds:
        more = "one comes with each round" if waiting else "none"
        return wrapped(Text(f"groups of answers: {more}", style="dim"), width)
    group = rounds[index]["group"]
    answers = _answers(group)
    if not answers:
        return wrapped(Text("no answer in this group", style="dim"), width)
    across = max(1, min(len(answers), (width + 3) // (LEAST + 3)))
    room = (width - 3 * (across - 1)) // across
    cells = [_cell(*answer, room) for answer in answers]
    rows: list[Text] = []
    for first in range(0, len(cells), across):
        for parts in zip_longest(*(cell.split("\n") for cell in cells[first : first + across]), fillvalue=Text()):
            row = Text(" │ ", style="dim").join([Text(style="not dim").append(padded(part, room)) for part in parts])
            row.rstrip()
            rows.append(row)
    prompt = Text.assemble(("PROMPT", "bold"), "\n", block(group.get("prompt") or "", LIMIT))
    return Text("\n").join([*rows, Text(), wrapped(prompt, width)])


def group_title(rounds: Sequence[dict[str, Any]], index: int) -> Text:
    """What the panel is called."""
    if not rounds:
        return Text("answers")
    which = f" · {index + 1} of {len(rounds)}" if len(rounds) > 1 else ""
    return Text(f"answers of round {count(rounds[index].get('round'))} with their rewards{which}")


def group_prompt(rounds: Sequence[dict[str, Any]], index: int) -> Text:
    """The beginning of the prompt, for the panel's lower edge."""
    return line(f"to: {rounds[index]['group'].get('prompt') or ''}") if rounds else Text()


def _answers(group: dict[str, Any]) -> list[tuple[str, float | None, int]]:
    """Answer, reward, and how often: the highest reward first, those without at the end."""
    answers, rewards = group.get("answers"), group.get("rewards")
    if not isinstance(answers, list) or not isinstance(rewards, list):
        return []
    times: dict[tuple[str, float | None], int] = {}
    for answer, reward in zip_longest(answers, rewards[: len(answers)]):
        key = str(answer), reward if is_number(reward) else None
        times[key] = times.get(key, 0) + 1
    order = sorted(times, key=lambda one: (one[1] is None, -(one[1] or 0.0)))
    return [(*one, times[one]) for one in order]


def _cell(answer: str, reward: float | None, times: int, width: int) -> Text:
    """The reward beside the answer's lines."""
    text = block(answer.strip(), LIMIT) if answer.strip() else Text("(empty)", style="dim")
    lines = wrapped(text, max(width - REWARD, 1)).split("\n")
    shown = NONE if reward is None else number(reward, ".2f")
    beside = [Text(shown, style="bold"), *([Text(f"×{times}")] if times > 1 else [])]
    rows = zip_longest(beside, lines, fillvalue=Text())
    return Text("\n").join([Text().append(_right(mark)).append(" ").append(words) for mark, words in rows])


def _right(mark: Text) -> Text:
    mark = mark.copy()
    mark.pad_left(max(REWARD - 1 - mark.cell_len, 0))
    return mark
