"""The layouts that preference datasets come in, and how a row of each is read into prompt and answers.

To support another layout, add an entry to `LAYOUTS`, and its spellings of the columns to `roles.SYNONYMS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mio_local.data.reading.beside_pairs import make_from_several
from mio_local.data.reading.better_of_two import make_from_two
from mio_local.data.reading.cells import PAIR, Cells, Made, Turns
from mio_local.data.reading.conversations import read_answered, read_messages
from mio_local.data.reading.plain_texts import make_from_outputs, read_text, read_transcript_prompt, read_transcripts
from mio_local.data.reading.ranked_answers import make_from_ranked
from mio_local.data.reading.unpaired import make_unpaired
from mio_local.data.reading.wanted import Wanted

__all__ = ["LAYOUTS", "PAIR", "READ", "UNPAIRED", "Layout"]
UNPAIRED = "unpaired"


@dataclass(frozen=True)
class Layout:
    """One layout: its name, what it looks like, the kinds of cells that show it, and how to read a row of it.

    `kinds` gives the kind of cell for each role that the layout needs; prompt is `none` where there is no such column,
    and `any` is a column of any kind. `read(cells, where, text)` returns prompt, chosen and rejected, or raises
    `BadRow`; `text` asks for a prompt that is plain text where the layout allows both (a tokenizer without a chat
    template). Where chosen and rejected are in no columns of their own, `make(cells, columns, where, ranking,
    wanted)` gives them, and another layout then reads what it made.
    """

    name: str
    shows: str
    kinds: Mapping[str, str]
    read: Callable[[Cells, str, bool], Turns] = read_text
    make: Callable[[Cells, Mapping[str, str], str, str, Wanted], Made] | None = None


# those with a column for each answer
READ: tuple[Layout, ...] = (
    Layout("hh-rlhf", "chosen, rejected: Human/Assistant transcripts",
           {"prompt": "none", "chosen": "transcript", "rejected": "transcript"}, read_transcripts),
    Layout("hh-prompt", "prompt: Human/Assistant transcript; chosen, rejected: text",
           {"prompt": "transcript", "chosen": "text", "rejected": "text"}, read_transcript_prompt),
    Layout("alpaca", "instruction, input, chosen, rejected: text",
           {"prompt": "text", "input": "text", "chosen": "text", "rejected": "text"}, read_text),
    Layout("text", "prompt, chosen, rejected: text",
           {"prompt": "text", "chosen": "text", "rejected": "text"}, read_text),
    Layout("implicit", "chosen, rejected: whole conversations",
           {"prompt": "none", "chosen": "messages", "rejected": "messages"}, read_messages),
    Layout("ultrafeedback", "prompt: text; chosen, rejected: messages",
           {"prompt": "text", "chosen": "messages", "rejected": "messages"}, read_messages),
    Layout("messages", "prompt, chosen, rejected: messages",
           {"prompt": "messages", "chosen": "messages", "rejected": "messages"}, read_messages),
    Layout("sharegpt", "conversations: messages; chosen, rejected: one message",
           {"prompt": "messages", "chosen": "message", "rejected": "message"}, read_messages),
    Layout("messages-text", "prompt: messages; chosen, rejected: text",
           {"prompt": "messages", "chosen": "text", "rejected": "text"}, read_messages),
    Layout("text-message", "prompt: text; chosen, rejected: one message",
           {"prompt": "text", "chosen": "message", "rejected": "message"}, read_messages),
    Layout("ms-swift", "messages that end with the chosen answer; rejected: text",
           {"prompt": "answered", "chosen": "none", "rejected": "text"}, read_answered),
    Layout("ms-swift-messages", "messages that end with the chosen answer; rejected: messages",
           {"prompt": "answered", "chosen": "none", "rejected": "messages"}, read_answered),
)  # fmt: skip
NONE = dict.fromkeys(PAIR, "none")
LAYOUTS: tuple[Layout, ...] = (
    *READ,
    Layout("alpaca-output", "instruction, output: text and [chosen, rejected]",
           {"prompt": "text", "answers": "texts"}, make=make_from_outputs),
    Layout("several-rejected", "chosen: an answer; rejected: a list of answers",
           {"chosen": "any", "rejected": "texts"}, make=make_from_several),
    Layout("several-conversations", "chosen: messages; rejected: a list of messages each",
           {"chosen": "any", "rejected": "conversations"}, make=make_from_several),
    Layout("ms-swift-several", "messages that end with the chosen answer; rejected: a list of answers",
           {"prompt": "answered", "chosen": "none", "rejected": "texts"}, make=make_from_several),
    Layout("better-of-two", "two answers, and a column that says which is better",
           {**NONE, "answer_a": "any", "answer_b": "any", "winner": "any"}, make=make_from_two),
    Layout("ranked", "a list of answers, each with its score or rank",
           {**NONE, "candidates": "objects"}, make=make_from_ranked),
    Layout("rated", "a list of answers, and a list of their scores",
           {**NONE, "candidates": "any", "scores": "any"}, make=make_from_ranked),
    Layout(UNPAIRED, "prompt, an answer, and a label: true for a good answer",
           {**NONE, "prompt": "any", "completion": "any", "label": "any"}, make=make_unpaired),
    Layout("unpaired-messages", "messages that end with an answer, and a label: true for a good one",
           {**NONE, "prompt": "answered", "completion": "none", "label": "any"}, make=make_unpaired),
)  # fmt: skip
