"""Damage as files meet it: bits, ends, pieces twice or gone, and values that nobody expects."""

import json
import random
from collections.abc import Callable
from typing import Any

ODD: list[Any] = [
    None, True, -1, 0, 1e308, 10**400, float("nan"), float("inf"), "", " ", "\x00", "\ud800", "\u202e", "a" * 100_000,
    [], {}, [[]], {"": None}, [None] * 50, "{{ 7 / 0 }}", "/etc/passwd", "../../x", "<b>[red]", "\x1b[31m", "١٢",
    "1_000",
]  # fmt: skip
WORDS = (b"null", b"NaN", b"-1", b"1e999", b"{", b"}", b"[", b"]", b'"', b",", b"\n", b"\r", b"\x00", b"\xff\xfe",
         b"\xed\xa0\x80", b"[" * 2000, b"{%", b"{{", b"'", b"=", b"0x", b"9" * 500)  # fmt: skip

Mutation = Callable[[random.Random, bytes], bytes]


def flip(rng: random.Random, content: bytes) -> bytes:
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        bit = rng.randrange(8 * len(made))
        made[bit // 8] ^= 1 << bit % 8
    return bytes(made)


def cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def drop(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.choice((1, 2, 16, 200)) :]


def repeat(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(len(content))
    piece = content[start : start + rng.choice((1, 8, 64, 1000))]
    return content[:start] + piece * rng.choice((2, 3, 50)) + content[start:]


def insert(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(len(content) + 1)
    return content[:start] + rng.choice(WORDS) + content[start:]


def noise(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + rng.randbytes(rng.choice((1, 4, 100))) + content[start + 4 :]


def revalue(rng: random.Random, content: bytes) -> bytes:
    """One value of a JSON text, or of a line of JSON, becomes an odd one; other texts are flipped."""
    lines = content.splitlines(keepends=True)
    for text, put in ((content, None), (rng.choice(lines) if lines else b"", lines)):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            continue
        made = json.dumps(_with_odd(rng, value), ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
        return made if put is None else b"".join(made + b"\n" if line is text else line for line in put)
    return flip(rng, content)


def _with_odd(rng: random.Random, value: Any) -> Any:
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not keys or rng.random() < 0.2:
        return rng.choice(ODD)
    key = rng.choice(keys)
    made: Any = dict(value) if isinstance(value, dict) else list(value)
    if rng.random() < 0.15:
        del made[key]
    else:
        made[key] = _with_odd(rng, value[key])
    return made


MUTATIONS: tuple[Mutation, ...] = (flip, cut, drop, repeat, insert, noise, revalue, revalue, revalue)


def mutated(rng: random.Random, content: bytes) -> bytes:
    """A file's content, damaged once or a few times."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if content:
            content = rng.choice(MUTATIONS)(rng, content)
    return content
