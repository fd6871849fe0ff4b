"""What the preview shows of one pair and of the skipped rows: bounded, and without control characters."""

from collections.abc import Mapping
from typing import Any

from mio_local.data.examples import Example
from mio_local.data.messages import shown_text
from mio_local.data.pairs import Pair
from mio_local.data.stored.preference_pair import names_of
from mio_local.data.template import Chat
from mio_local.data.token_text import are_cut, pieces, special_ids
from mio_local.text import visible_line, visible_within

SHOWN_TOKENS = 400  # of each part of a pair
SHOWN_CHARACTERS = 4000
SHOWN_MESSAGES = 50  # of a prompt shown as text: the last ones
SHOWN_REASONS = 20
SHOWN_ANSWERS = 16  # of a group

Answer = dict[str, Any]


def token_parts(chat: Chat, example: Example, *, sampled: bool = False) -> list[Answer]:
    """Prompt, chosen and rejected, and of a group all its answers, as their tokens."""
    special = special_ids(chat.tokenizer)
    names = names_of(len(example.answers), example.rewards, sampled=sampled)
    answers = [(name, ids, True, cut)
               for name, ids, cut in zip(names, example.answers, are_cut(example), strict=True) if ids]
    made: list[Answer] = []
    for role, ids, scored, cut in (("prompt", example.prompt, False, example.cut_prompt), *answers[:SHOWN_ANSWERS]):
        texts = visible_within(pieces(chat.tokenizer, ids[:SHOWN_TOKENS]), SHOWN_CHARACTERS)
        shown = [[text, token in special] for text, token in zip(texts, ids, strict=False)]
        more = len(ids) - len(shown)
        made.append({"role": role, "tokens": len(ids), "scored": scored, "cut": cut, "pieces": shown, "more": more})
    return made + _unseen(len(answers))


def text_parts(pair: Pair) -> list[Answer]:
    """Each message of the prompt (of a long one the last), and each answer, as one piece each.

    `more` counts the characters left out, of the first message shown with those of the messages before it.
    """
    turns = [("prompt", pair.prompt)] if isinstance(pair.prompt, str) else [
        (message["role"], shown_text(message)) for message in pair.prompt
    ]
    names = names_of(len(pair.answers), pair.rewards, sampled=pair.sampled)
    answers = [(name, shown_text(answer)) for name, answer in zip(names, pair.answers, strict=True) if answer]
    unseen = sum(len(text) for _, text in turns[:-SHOWN_MESSAGES])
    made: list[Answer] = []
    parts = [*((*turn, False) for turn in turns[-SHOWN_MESSAGES:]), *((*one, True) for one in answers[:SHOWN_ANSWERS])]
    for role, text, scored in parts:
        shown = visible_within(text[:SHOWN_CHARACTERS], SHOWN_CHARACTERS)
        made.append({"role": role, "tokens": 0, "scored": scored, "cut": False,
                     "pieces": [["".join(shown), False]], "more": unseen + len(text) - len(shown)})
        unseen = 0
    return made + _unseen(len(answers))


def _unseen(answers: int) -> list[Answer]:
    """A part that tells how many answers are not shown, where some are not."""
    more = f"{answers - SHOWN_ANSWERS:,} more answers"
    empty = {"tokens": 0, "scored": False, "cut": False, "pieces": [], "more": 0}
    return [{"role": more, **empty}] if answers > SHOWN_ANSWERS else []


def reasons(skipped: Mapping[str, int]) -> dict[str, int]:
    """Why rows are skipped, the commonest reasons first; a reason may quote a row, so there may be one for each row."""
    ordered = sorted(skipped.items(), key=lambda reason: -reason[1])
    shown: dict[str, int] = {}
    for number, (reason, count) in enumerate(ordered):
        name = visible_line(reason, 200) if number < SHOWN_REASONS else "other reasons"
        shown[name] = shown.get(name, 0) + count
    return shown
