"""The text of each token on its own, as a tokenizer spells it."""

from collections.abc import Callable
from typing import Any

from mio_local.data.examples import Example


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


def are_cut(example: Example) -> list[bool]:
    """Of each answer whether its end was cut: of several rejected ones those that fill the limit."""
    longest = max(map(len, example.answers[1:]))
    rejected = [example.truncated_rejected and len(ids) == longest for ids in example.answers[1:]]
    return [example.truncated_chosen, *rejected]
