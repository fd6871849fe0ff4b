"""What a server's model is asked, and what its answer says."""

import json
import re
from pathlib import Path
from typing import Any, Literal

from mio_local.data.messages import Message, shown_text
from mio_local.errors import RecipeError, one_line
from mio_local.storage.paths import expanded
from mio_local.storage.plain_files import read_plain

SHIPPED = Path(__file__).with_name("judge_prompt.txt")
PLACES = ("prompt", "first", "second")
Verdict = Literal["A", "B", "tie"]
LINE = re.compile(r"(?:(?:final )?(?:verdict|answer|winner|better)\s*[:=]\s*)?(A|B|tie)", re.IGNORECASE)
AROUND = " \t*_`\"'[](){}.#"  # what models put around a word


def judge_prompt(file: str) -> str:
    """The words of a file, or the shipped ones where it is "". Raises RecipeError for one that cannot be read, or that
    lacks a place for the prompt or an answer."""
    said = f"make.judge_prompt = {file}"
    try:
        text = (read_plain(expanded(file, said)) if file else SHIPPED.read_bytes()).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{said}: cannot be read: {one_line(error)}") from None
    if lacking := [place for place in PLACES if f"{{{place}}}" not in text]:
        raise RecipeError(f"{said}: has no {{{lacking[0]}}}; write {{prompt}}, {{first}} and {{second}} where they go")
    return text


def filled(words: str, prompt: list[Message] | str, first: str, second: str) -> str:
    """`words` with a prompt and two answers in their places; what is put in is not looked at again."""
    asked = prompt if isinstance(prompt, str) else shown_text(prompt[0]) if _is_one(prompt) else shown_text(prompt)
    texts = {"prompt": asked, "first": first, "second": second}
    return re.sub(r"\{(prompt|first|second)\}", lambda place: texts[place[1]], words)


def _is_one(prompt: list[Message]) -> bool:
    return len(prompt) == 1 and prompt[0]["role"] == "user"


def verdict_of(answer: str) -> Verdict | None:
    """A, B or tie, where the last line that is not empty is nothing else, or `verdict: A`, or the answer is a JSON
    object whose `verdict` or `winner` is that; None for anything else. A and B are capitals: `a` is a word."""
    text = answer.rpartition("</think>")[2].strip().removesuffix("```").rstrip()
    lines = [line for line in text.splitlines() if line.strip(AROUND)]
    last = lines[-1].strip() if lines else ""
    for candidate in (last, re.sub(r"^```\w*", "", text)):
        if (said := _in_json(candidate)) is not None:
            return _word(said)
    found = LINE.fullmatch(last.strip(AROUND).replace("**", ""))
    return _word(found[1]) if found else None


def _in_json(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value.get("verdict", value.get("winner")) if isinstance(value, dict) else None


def _word(said: Any) -> Verdict | None:
    if said in ("A", "B"):
        return said
    return "tie" if isinstance(said, str) and said.lower() == "tie" else None
