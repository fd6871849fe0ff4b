"""Questions with known answers: read from a file, and the rules by which an answer is right."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from mio_local.errors import DataError, nearest
from mio_local.storage.paths import expanded

BOXED = "\\boxed{"
LETTER = re.compile(r"\b([A-E])\b")
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class Question:
    """A question and its correct answer."""

    question: str
    answer: str


def read_tasks(path: str, said: str = "eval.tasks: ") -> list[Question]:
    """Rows of `question` and `answer`. Raises DataError naming file and line; `said` goes before the file's name."""
    file = expanded(path, said.rstrip(": "))
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")  # U+2028 may stand in a text
    except FileNotFoundError:
        raise DataError(f"{said}{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{said}{path}: cannot be read: {error}") from None
    found: list[Question] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found.append(Question(row["question"], str(row["answer"])))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DataError(f"{path} line {number}: not a JSON object with question and answer") from None
    if not found:
        raise DataError(f"{path}: holds no questions")
    return found


def last_number(text: str) -> str | None:
    """The last number in `text`, without thousands separators or a trailing .0; None where there is none."""
    numbers = NUMBER.findall(text)
    return re.sub(r"\.0+$", "", numbers[-1].replace(",", "")) if numbers else None


def boxed(text: str) -> str | None:
    """What the last \\boxed{...} of `text` holds, braces inside it included; None where there is none."""
    start = text.rfind(BOXED)
    depth, place = 1, start + len(BOXED)
    for at, letter in enumerate(text[place:] if start >= 0 else ""):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if not depth:
            return text[place : place + at].strip()
    return None


def letter(text: str) -> str | None:
    """The first of A to E that stands alone; None where none does."""
    found = LETTER.search(text)
    return found[1] if found else None


Rule = Callable[[str], str | None]  # the part of an answer that counts, None where it is not there
RULES: dict[str, Rule] = {"last-number": last_number, "exact": str.strip, "boxed": boxed, "letter": letter}


def rule(name: str, said: str = "--rule") -> Rule:
    """The rule called `name`, or regex:PATTERN: group 1 of the pattern's first match. Raises DataError; `said` is the
    flag that it was given with."""
    kind, colon, text = name.partition(":")
    if kind == "regex" and colon:
        try:
            pattern = re.compile(text)
        except re.error as error:
            raise DataError(f"{said} {name}: no regular expression: {error}") from None
        if pattern.groups != 1:
            raise DataError(f"{said} {name}: has {pattern.groups} groups; put the answer, and it alone, in ( )")
        return lambda text: found[1] if (found := pattern.search(text)) else None
    if name not in RULES:
        there = ", ".join((*RULES, "regex:PATTERN"))
        raise DataError(f"{said} {name}: no such rule{nearest(name, RULES)}; there are {there}")
    return RULES[name]
