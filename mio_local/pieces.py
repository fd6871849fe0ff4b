"""Text from outside as it is shown: the text of each token on its own, and no control character in any of it."""

import re
from collections.abc import Callable, Iterable
from typing import Any

# control characters but newline and tab; those that turn the direction of writing; halves of a character
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """`text` with newlines as ⏎, tabs as ⇥, and control characters as their codes, so that none reaches the screen."""
    shown = text.replace("\n", "⏎").replace("\t", "⇥")
    return "".join(sign if sign.isprintable() else f"\\u{{{ord(sign):x}}}" for sign in shown)


def harmless(text: str) -> str:
    """`text` as it is, but for what would act on a terminal rather than be seen there, which becomes its code."""
    return HARMFUL.sub(lambda found: f"\\u{{{ord(found[0]):x}}}", text)


def visible_line(text: str, limit: int = 1000) -> str:
    """`text` on one line, visible, and cut to `limit` characters: for messages that quote a row or a path."""
    shown = visible(" ".join(text[: 2 * limit].split()))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def visible_within(texts: Iterable[str], limit: int) -> list[str]:
    """The first of `texts`, made visible, as many as have `limit` characters together."""
    kept: list[str] = []
    for text in texts:
        shown = visible(text)
        limit -= len(shown)
        if limit < 0:
            break
        kept.append(shown)
    return kept


def decoder(tokenizer: Any, *, special: bool) -> Callable[[list[int]], str]:
    """What gives the text of tokens that follow others, their leading space with it, and with `special` the names of
    special tokens too."""
    anchor = tokenizer("a", add_special_tokens=False)["input_ids"][:1]

    def decode(ids: list[int]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=not special, clean_up_tokenization_spaces=False)

    before = decode(anchor)
    return lambda ids: decode([*anchor, *ids]).removeprefix(before)


def pieces(tokenizer: Any, ids: list[int]) -> list[str]:
    """The text of each token on its own, its leading space with it; a part of a character is shown by its token."""
    decode = decoder(tokenizer, special=True)
    texts: list[str] = []
    for token in ids:
        text = decode([token])
        texts.append(str(tokenizer.convert_ids_to_tokens(token)) if not text or "\ufffd" in text else text)
    return texts


def special_ids(tokenizer: Any) -> set[int]:
    """The ids of the tokens that no text spells: those with a role of their own, and those marked special."""
    marked = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return marked | set(tokenizer.all_special_ids)
