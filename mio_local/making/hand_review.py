"""Pairs reviewed by hand: a file of `data make` in, a reader's choices out, as pairs that `train` reads.

What is chosen of PAIRS.jsonl is appended at once to PAIRS-reviewed.jsonl: its line with `chosen` and `rejected` as the
reader has them, `judge` as "hand", and all else kept. Pairs of which neither answer is better are in no file of pairs:
their keys stand in PAIRS-reviewed.jsonl.alike, a line each. Both are read when the review is opened again, which then
goes on with the pairs that are in neither.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mio_local.data.messages import Answer, shown_text
from mio_local.errors import DataError
from mio_local.storage.json_files import parse
from mio_local.storage.plain_files import open_plain, read_plain
from mio_local.storage.writing import append, write_atomically, write_whole

HAND = "hand"  # who judged
LARGEST = 500_000_000  # bytes of a file that is read
Verdict = Literal["first", "second", "alike", "skip"]


@dataclass(frozen=True)
class Question:
    """Two answers to a prompt, in an order that does not tell the rewards: it follows from their texts alone. `row` is
    the line that they are of, `key` what stands for prompt and answers, in any order."""

    key: str
    first: Answer
    second: Answer
    row: dict[str, Any] = field(compare=False)

    @property
    def prompt(self) -> str:
        """As a text for the eye."""
        return shown_text(self.row["prompt"])


class Decided(NamedTuple):
    """What was decided here, for `undo`."""

    question: Question
    verdict: Verdict


class Review:
    """The pairs of a file, each once, and what was decided of them; `bad` counts lines that hold no two answers.

    Raises DataError where the file cannot be read or has no pair, OSError where what was decided cannot be.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.reviewed = file, reviewed_file(file)
        self.alike = self.reviewed.with_name(f"{self.reviewed.name}.alike")
        self.bad = 0
        self.questions = self._read()
        self.kept = {key for line in _sound(self.reviewed) if (key := _key_of(line))}
        self.dropped = {line.decode("ascii", "replace") for line in _sound(self.alike, text=True)}
        self.skipped: set[str] = set()
        self.decided: list[Decided] = []

    @property
    def asked(self) -> Question | None:
        """The next pair to decide on; None once all are decided or skipped."""
        done = self.kept | self.dropped | self.skipped
        return next((one for one in self.questions if one.key not in done), None)

    def counts(self) -> dict[str, int]:
        """How many of the pairs are kept, alike and skipped."""
        keys = {one.key for one in self.questions}
        return {"kept": len(keys & self.kept), "alike": len(keys & self.dropped), "skipped": len(self.skipped)}

    def decide(self, question: Question, verdict: Verdict) -> None:
        """Write down which of the two is better, or that neither is; a skipped one is asked again next time. Raises
        OSError."""
        if verdict == "skip":
            self.skipped.add(question.key)
        elif verdict == "alike":
            _append(self.alike, question.key.encode() + b"\n")
            self.dropped.add(question.key)
        else:
            pair = question.first, question.second
            chosen, rejected = pair if verdict == "first" else pair[::-1]
            _append(self.reviewed, _line({**question.row, "chosen": chosen, "rejected": rejected, "judge": HAND}))
            self.kept.add(question.key)
        self.decided.append(Decided(question, verdict))

    def undo(self) -> Decided | None:
        """Take back what was decided last since the review was opened; None where nothing was. Raises OSError."""
        if not self.decided:
            return None
        question, verdict = last = self.decided[-1]
        if verdict == "alike":
            _rewrite(self.alike, (line for line in _sound(self.alike, text=True) if line.decode() != question.key))
            self.dropped.discard(question.key)
        elif verdict != "skip":
            lines = _sound(self.reviewed)
            _rewrite(self.reviewed, (line for line in lines if _key_of(line) != question.key))
            self.kept.discard(question.key)
        self.skipped.discard(question.key)
        self.decided.pop()
        return last

    def _read(self) -> list[Question]:
        try:
            with open_plain(self.file) as opened:
                content = opened.read(LARGEST)
        except OSError as error:
            raise DataError(f"{self.file}: cannot be read: {error.strerror or error}") from None
        found: dict[str, Question] = {}
        for line in content.splitlines():
            if not line.strip():
                continue
            question = _question(_parsed(line))
            self.bad += question is None
            if question:
                found.setdefault(question.key, question)
        if not found:
            raise DataError(f"{self.file}: holds no two answers to a prompt; make pairs first: mio-local data make")
        return list(found.values())


def reviewed_file(file: Path) -> Path:
    """Where the reviewed pairs of a file are."""
    return file.with_name(f"{file.stem}-reviewed{file.suffix}")


def _question(row: Any) -> Question | None:
    """What a line asks: its pair, or where it has none any two of its answers that differ; None for another line."""
    if not isinstance(row, dict) or not _is_text(row.get("prompt")):
        return None
    pair: tuple[Any, ...] = row.get("chosen"), row.get("rejected")
    if pair == (None, None):
        answers = row.get("answers")
        texts = {one.strip(): one for one in answers if isinstance(one, str)} if isinstance(answers, list) else {}
        usable = sorted((one for short, one in texts.items() if short), key=lambda one: _digest([row["prompt"], one]))
        pair = tuple(usable[:2]) if len(usable) > 1 else (None, None)
    first, second = sorted(pair, key=json.dumps)
    if not (_is_text(first) and _is_text(second)) or first == second:
        return None
    key = _digest([row["prompt"], first, second])
    if int(key, 16) % 2:
        first, second = second, first
    return Question(key, first, second, row)


def _key_of(line: bytes) -> str:
    question = _question(_parsed(line))
    return question.key if question else ""


def _is_text(value: Any) -> bool:
    """Whether it is a text or a list of messages."""
    if isinstance(value, list):
        return bool(value) and all(
            isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
            for one in value
        )
    return isinstance(value, str) and bool(value.strip())


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _parsed(line: bytes) -> Any:
    """What a line says; None where it makes no sense."""
    try:
        return parse(line)
    except ValueError:
        return None


def _sound(file: Path, *, text: bool = False) -> list[bytes]:
    """The lines of a file of ours, none where there is none. A last one that was torn is left out, of the file too."""
    try:
        content = read_plain(file)
    except FileNotFoundError:
        return []
    whole, end, torn = content.rpartition(b"\n")
    if torn and not text and _parsed(torn) is not None:  # an editor left out the last line's end
        whole, end, torn = content, b"\n", b""
    lines = [line for line in whole.split(b"\n") if line.strip()]
    if whole + end != content:
        _rewrite(file, lines)
    return lines


def _rewrite(file: Path, lines: Iterable[bytes]) -> None:
    write_atomically(file, b"".join(line + b"\n" for line in lines))


def _line(row: dict[str, Any]) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half of a pair of surrogates, which JSON may hold
        return json.dumps(row).encode() + b"\n"


def _append(file: Path, line: bytes) -> None:
    """Add a line, or nothing."""
    if not file.exists():
        write_atomically(file, line)
        return
    opened = append(file)
    try:
        write_whole(opened, line)
    finally:
        os.close(opened)
