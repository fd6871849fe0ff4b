"""Whether a GGUF file says what the app's model says: greedy answers to a few prompts, token by token."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mio_local.data.messages import Message
from mio_local.data.template import Chat
from mio_local.data.tokenise import chat_of
from mio_local.errors import MioError
from mio_local.evaluation.loading import Source
from mio_local.models.locate import end_ids
from mio_local.process import cores
from mio_local.progress import Report
from mio_local.recipe import DataSettings

PACKAGE = "llama_cpp"
TOKENS = 32  # of an answer, at most
PROMPTS = (
    "What is the capital of France?", "Write a sentence about the sea.", "Tom has 3 apples and buys 4 more. How many?",
    "Name three colours.", "Why is the sky blue?", "Translate to German: good morning.", "Once upon a time",
    "List two uses of a spoon.", "What is 12 times 7?", "Give me a short poem.", "How do I boil an egg?",
    "Is 17 a prime number?", "Who wrote Hamlet?", "A train goes 60 miles in 2 hours. How fast is it?",
    "Say hello to Anna.", "Finish this: the quick brown fox",
)  # fmt: skip


@dataclass(frozen=True)
class Agreement:
    """How many of the prompts have the same greedy answer. `reason`: why none was compared. `first`: the first prompt
    with another answer, and the number of its tokens that are the same. `retokenised`: how many of the prompts become
    other tokens there."""

    same: int = 0
    by: str = ""
    reason: str = ""
    first: tuple[str, int] = ("", 0)
    retokenised: int = 0

    @property
    def line(self) -> str:
        """In words, one line."""
        if self.reason:
            return f"its greedy text was not compared with the app's: {self.reason}"
        prompt, equal = self.first
        where = f"; llama.cpp makes other tokens of {self.retokenised} of the prompts" if self.retokenised else ""
        where += f"; first apart after {equal} tokens of: {prompt}" if prompt else ""
        return f"{self.same} of {len(PROMPTS)} prompts agree with the app's greedy text, {TOKENS} tokens each, " \
               f"by {self.by}{where}"  # fmt: skip


def conversation_of(source: Source) -> Chat:
    """The tokenizer and the template of the conversations that `source` was trained in."""
    written = DataSettings(template=source.template, template_args=source.template_args)
    return chat_of(source.model, written, source.base)


def lacking() -> str:
    """Why nothing can be compared here; "" where it can."""
    return "" if find_spec(PACKAGE) else "llama-cpp-python is not installed; pip install llama-cpp-python"


def agreement(source: Source, file: Path, report: Report, lora: Path | None = None) -> Agreement:
    """The app's greedy answers against those of `file`, with `lora` on it where that is given."""
    if reason := lacking():
        return Agreement(reason=reason)
    try:
        chat = conversation_of(source)
        questions = [_asked(source, chat, text) for text in PROMPTS]
        texts = [chat.prompt_text(question) for question in questions]
        prompts = [chat.generation_prompt(question) for question in questions]
    except MioError as error:  # a template that takes no such conversation
        return Agreement(reason=str(error))
    ends = sorted(chat.end_ids.union(end_ids(source.base)))
    report("the app's greedy text", 0, 0)
    model = source.load(source.open())
    ours = model.generate(prompts, TOKENS, ends, reference=False)
    del model
    bos = chat.tokenizer.bos_token or ""
    request = {"file": str(file), "lora": str(lora or ""), "texts": texts, "tokens": TOKENS, "ends": ends, "bos": bos,
               "room": max(map(len, prompts)) * 2 + TOKENS + 64, "threads": max(1, cores() // 2)}  # fmt: skip
    return _compared(prompts, ours, request, report)


def _asked(source: Source, chat: Chat, text: str) -> list[Message] | str:
    if chat.mode == "text":
        return text
    system: list[Message] = [{"role": "system", "content": source.system}] if source.system else []
    return [*system, {"role": "user", "content": text}]


def _compared(
    prompts: Sequence[list[int]], ours: Sequence[list[int]], request: Mapping[str, object], report: Report
) -> Agreement:
    lines: list[str] = []
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mio_local.export.apps.llama_tokens"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True,
        )  # fmt: skip
        assert process.stdin
        assert process.stdout
        try:
            with suppress(BrokenPipeError):  # it ended before it had read the request
                process.stdin.write(json.dumps(dict(request)))
                process.stdin.close()
            for line in process.stdout:
                lines.append(line)
                report("its greedy text by llama.cpp", len(lines) - 1, len(ours))
            code = process.wait()
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        words = [line.strip() for line in said if line.strip()] or [f"exit code {code}"]
    if code or len(lines) != 1 + len(ours):
        return Agreement(reason=f"llama-cpp-python failed: {words[-1][:200]}")
    theirs: list[tuple[list[int], list[int]]] = [json.loads(line) for line in lines[1:]]
    apart = [(text, _equal(one, other)) for text, one, (_, other) in zip(PROMPTS, ours, theirs, strict=True)
             if one != other]  # fmt: skip
    retokenised = sum(one != other for one, (other, _) in zip(prompts, theirs, strict=True))
    by = f"llama-cpp-python {json.loads(lines[0])}"
    return Agreement(len(PROMPTS) - len(apart), by, "", apart[0] if apart else ("", 0), retokenised)


def _equal(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens are the same from the start."""
    return next((number for number, (left, right) in enumerate(zip(one, other, strict=False)) if left != right),
                min(len(one), len(other)))  # fmt: skip
