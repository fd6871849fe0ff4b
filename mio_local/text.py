"""Text from outside as it is shown: no control character in any of it."""

import re
from collections.abc import Iterable
from typing import Any

# control characters but newline and tab; those that turn the direction of writing; halves of a character
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# tokens by their makers' prefixes, what follows a name such as api_key=, and what stands before the @ of an address
SECRET = re.compile(
    r"\b(?:hf_|sk-|gh[pousr]_|github_pat_|xox[abpr]-|AKIA|glpat-)[\w-]{8,}"
    r"|(?P<name>(?:^|[\W_])(?:token|secret|password|passwd|api[_-]?key|authorization)[=:\s]\s*(?:bearer\s+)?)[^\s&]+"
    r"|(?<=://)[^/\s@]+:[^/\s@]+(?=@)",
    re.IGNORECASE,
)


def visible(text: str) -> str:
    """`text` with newlines as ⏎, tabs as ⇥, and control characters as their codes, so that none reaches the screen."""
    if text.isprintable():
        return text
    shown = text.replace("\n", "⏎").replace("\t", "⇥")
    return "".join(sign if sign.isprintable() else f"\\u{{{ord(sign):x}}}" for sign in shown)


def harmless(text: str) -> str:
    """`text` as it is, but for what would act on a terminal rather than be seen there, which becomes its code."""
    return HARMFUL.sub(lambda found: f"\\u{{{ord(found[0]):x}}}", text)


def without_secrets(word: str) -> str:
    """A word of a command line as it may be written down: what looks like a token or a password is left out."""
    return SECRET.sub(lambda found: f"{found['name'] or ''}…", word)


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


def kind_name(value: Any) -> str:
    """What a JSON value is, in words for an error message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return {"str": "text", "list": "a list", "dict": "an object"}.get(type(value).__name__, type(value).__name__)
