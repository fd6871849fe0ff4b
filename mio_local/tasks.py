"""Questions with known answers, answered greedily: did the model get better at the task, or only at the pairs?"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mio_local.backend import Model
from mio_local.chat import Chat
from mio_local.errors import DataError

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class Question:
    """A question and its correct answer."""

    question: str
    answer: str


def read_tasks(path: str) -> list[Question]:
    """Rows of `question` and `answer`. Raises DataError naming file and line."""
    file = Path(path).expanduser()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"eval.tasks: {path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"eval.tasks: {path}: cannot be read: {error}") from None
    found: list[Question] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found.append(Question(row["question"], str(row["answer"])))
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{path} line {number}: not a JSON object with question and answer") from None
    if not found:
        raise DataError(f"{path}: holds no questions")
    return found


def last_number(text: str) -> str | None:
    """The last number in `text`, without thousands separators or a trailing .0; None where there is none."""
    numbers = NUMBER.findall(text)
    return re.sub(r"\.0+$", "", numbers[-1].replace(",", "")) if numbers else None


BATCH = 32  # questions answered together


def greedy_answers(
    model: Model, chat: Chat, questions: Sequence[Question], max_tokens: int, *, reference: bool
) -> Iterator[bool]:
    """Whether each question's greedy answer ends in the right number, in order; answered BATCH at a time."""
    for first in range(0, len(questions), BATCH):
        asked = questions[first : first + BATCH]
        prompts = [chat.generation_prompt(item.question) for item in asked]
        answers = model.generate(prompts, max_tokens, sorted(chat.end_ids), reference=reference)
        for item, answer in zip(asked, answers, strict=True):
            wanted = last_number(item.answer)
            yield wanted is not None and last_number(chat.tokenizer.decode(answer, skip_special_tokens=True)) == wanted
