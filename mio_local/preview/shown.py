"""What the preview shows of one pair and of the skipped rows: bounded, and without control characters."""

from collections.abc import Mapping
from typing import Any

from mio_local.data.examples import Example
from mio_local.data.layouts import PAIR
from mio_local.data.messages import shown_text
from mio_local.data.pairs import Pair
from mio_local.data.template import Chat
from mio_local.data.token_text import pieces, special_ids
from mio_local.text import visible_line, visible_within

SHOWN_TOKENS = 400  # of each part of a pair
SHOWN_CHARACTERS = 4000
SHOWN_MESSAGES = 50  # of a prompt shown as text: the last ones
SHOWN_REASONS = 20

Answer = dict[str, Any]


def token_parts(chat: Chat, example: Example) -> list[Answer]:
    """Prompt, chosen and rejected as their tokens."""
    special = special_ids(chat.tokenizer)
    parts = (
        ("prompt", example.prompt, False, example.cut_prompt),
        ("chosen", example.chosen, True, example.truncated_chosen),
        ("rejected", example.rejected, True, example.truncated_rejected),
    )
    made: list[Answer] = []
    for role, ids, scored, cut in parts:
        texts = visible_within(pieces(chat.tokenizer, ids[:SHOWN_TOKENS]), SHOWN_CHARACTERS)
        shown = [[text, token in special] for text, token in zip(texts, ids, strict=False)]
        more = len(ids) - len(shown)
        made.append({"role": role, "tokens": len(ids), "scored": scored, "cut": cut, "pieces": shown, "more": more})
    return made


def text_parts(pair: Pair) -> list[Answer]:
    """Each message of the prompt (of a long one the last), chosen and rejected, as one piece each.

    `more` counts the characters left out, of the first message shown with those of the messages before it.
    """
    turns = [("prompt", pair.prompt)] if isinstance(pair.prompt, str) else [
        (message["role"], shown_text(message)) for message in pair.prompt
    ]
    answers = [("chosen", shown_text(pair.chosen)), ("rejected", shown_text(pair.rejected))]
    unseen = sum(len(text) for _, text in turns[:-SHOWN_MESSAGES])
    made: list[Answer] = []
    for role, text in (*turns[-SHOWN_MESSAGES:], *answers):
        shown = visible_within(text[:SHOWN_CHARACTERS], SHOWN_CHARACTERS)
        made.append({"role": role, "tokens": 0, "scored": role in PAIR, "cut": False,
                     "pieces": [["".join(shown), False]], "more": unseen + len(text) - len(shown)})
        unseen = 0
    return made


def reasons(skipped: Mapping[str, int]) -> dict[str, int]:
    """Why rows are skipped, the commonest reasons first; a reason may quote a row, so there may be one for each row."""
    ordered = sorted(skipped.items(), key=lambda reason: -reason[1])
    shown: dict[str, int] = {}
    for number, (reason, count) in enumerate(ordered):
        name = visible_line(reason, 200) if number < SHOWN_REASONS else "other reasons"
        shown[name] = shown.get(name, 0) + count
    return shown
